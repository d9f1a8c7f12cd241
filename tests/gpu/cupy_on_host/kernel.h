// What a compiled kernel and the runtime share: indices, barriers, hooks, and how a kernel is called.
#pragma once
#include <cstddef>
#include <cstdint>

struct HostUint3 {
  unsigned x, y, z;
};

struct HostKernel {
  void (*call)(void** arguments);
  bool barriers;  // its threads wait for each other
  bool loops;     // it loops over its elements with the grid as stride: one thread does them all
  // The rest is given for our own kernels only (kernels_on_host.py).
  const char* name;
  char* shared;  // the memory that a block's threads share: arrays with gaps between
  uint64_t shared_size;
  const uint32_t* arrays;  // (offset, size) of each shared array
  uint32_t array_count;
  uint32_t most_threads;     // by its launch bounds
  const char* const* sites;  // where in the source each access and barrier stands; null where nothing is watched
};

enum AccessKind { READ = 0, WRITE = 1, ATOMIC = 2, READ_FLOAT = 4 };

extern "C" {
extern HostUint3 threadIdx, blockIdx, blockDim, gridDim;
extern char* host_dynamic_shared;
void host_barrier(int of_warp);
unsigned host_lane();
uint64_t host_exchange(uint64_t value, unsigned from);

// Called by our own kernels: the site is an index into HostKernel::sites.
void host_block_barrier(unsigned site);
void host_warp_barrier(unsigned mask, unsigned site);
uint64_t host_shuffle(unsigned mask, unsigned mode, unsigned value, unsigned lane, unsigned clamp, unsigned site);
void host_access(void* place, uint64_t size, uint64_t alignment, unsigned kind, unsigned site);
}
