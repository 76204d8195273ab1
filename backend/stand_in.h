#pragma once

#include "backend/device.h"

namespace v4rt {

// A device that has another do its work, on kernels that are that one's own: as described by a profile, say.
class StandIn {
 public:
  virtual Device& behind() const = 0;

 protected:
  ~StandIn() = default;
};

// What a device may offer beside Device, itself or through the one that it stands for; nullptr: it does not.
template <class Offer>
Offer* offered(Device& device) {
  if (auto* offer = dynamic_cast<Offer*>(&device)) return offer;
  const auto* stand_in = dynamic_cast<StandIn*>(&device);
  return stand_in != nullptr ? offered<Offer>(stand_in->behind()) : nullptr;
}

}  // namespace v4rt
