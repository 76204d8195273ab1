// What a launch goes on with (tail.h), in OpenCL C with fences of device scope.

// Whether this work-group is the last of `count` to arrive at a counter, which is 0 before and after; with a count of 0
// it does not arrive. The last one sees what all of them wrote.
EM_FN int last_to_arrive(__global uint* counter, uint count, __local uint* is_last) {
  SYNC_ALL;
  if (LANE == 0) {
    *is_last = 0;
    if (count > 0) {
      atomic_work_item_fence(CLK_GLOBAL_MEM_FENCE, memory_order_release, memory_scope_device);
      const uint before = atomic_fetch_add_explicit((volatile __global atomic_uint*)counter, 1u, memory_order_relaxed,
                                                    memory_scope_device);
      atomic_work_item_fence(CLK_GLOBAL_MEM_FENCE, memory_order_acquire, memory_scope_device);
      *is_last = before + 1 == count;
      if (before + 1 == count) *counter = 0;
    }
  }
  SYNC_ALL;
  return (int)*is_last;
}

// A number of each work-item of each work-group; those of the last one add up what all work-groups wrote, to `sums`.
KERNEL void probe_arrivals(__global uint* numbers, int turn, __global uint* counter, __global uint* sums) {
  __local uint is_last;
  const uint groups = (uint)get_num_groups(0), group = (uint)get_group_id(0);
  numbers[group * GROUP + LANE] = turn * (group + LANE);
  const int last = last_to_arrive(counter, groups, &is_last);
  uint sum = 0;
  for (uint other = 0; other < (last ? groups : 0); ++other) sum += numbers[other * GROUP + LANE];
  if (last) sums[LANE] += sum;
}
