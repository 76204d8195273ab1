#include "backend/cpu/simd/target.h"

#include <hwy/highway.h>

#include <algorithm>
#include <cctype>

#include "backend/cpu/simd/amx.h"
#include "backend/cpu/simd/pairs.h"

namespace v4rt::simd {

std::vector<std::string> features() {
  hwy::GetChosenTarget().Update(hwy::SupportedTargets());
  const int64_t supported = hwy::SupportedTargets() & HWY_TARGETS;
  std::string name = hwy::TargetName(supported & -supported);
  if (name.starts_with("AVX3")) name = "avx512";
  std::transform(name.begin(), name.end(), name.begin(),
                 [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  std::vector<std::string> names{name};
  if (name == "avx512" && pairs_pay()) names.emplace_back("avx512bf16");
  if (amx().works) names.emplace_back("amx");
  return names;
}

}  // namespace v4rt::simd
