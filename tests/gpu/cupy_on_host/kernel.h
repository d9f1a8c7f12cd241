// What a compiled kernel and the runtime share: indices, barriers, and how a kernel is called.
#pragma once
#include <cstdint>

struct HostUint3 {
  unsigned x, y, z;
};

struct HostKernel {
  void (*call)(void** arguments);
  bool barriers;  // its threads wait for each other
  bool loops;     // it loops over its elements with the grid as stride: one thread does them all
};

extern "C" {
extern HostUint3 threadIdx, blockIdx, blockDim, gridDim;
extern char* host_dynamic_shared;
void host_barrier(int of_warp);
unsigned host_lane();
uint64_t host_exchange(uint64_t value, unsigned from);
}
