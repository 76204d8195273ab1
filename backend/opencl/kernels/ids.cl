// Ids of tokens that the host program's kernels wrote.

// to[first + i] = from[i] where that is one of the vocabulary's, otherwise 0; wrong = the least first + i of the
// latter.
KERNEL void take_ids(__global const int* from, __global int* to, __global int* wrong, int first, int n,
                     int vocabulary) {
  for (int i = (int)get_group_id(0) * GROUP + LANE; i < n; i += (int)get_num_groups(0) * GROUP) {
    const int id = from[i];
    const bool known = id >= 0 && id < vocabulary;
    to[first + i] = known ? id : 0;
    if (!known) atomic_min(wrong, first + i);
  }
}
