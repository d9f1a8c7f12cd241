// What runtime.cpp and detector.cpp know of each other: memory, the threads of the running block, and how a launch is given up.
#pragma once
#include <map>
#include <string>

#include "kernel.h"

struct Block {
  size_t size;  // as it was asked for
  int device;   // -1: the host's
};
extern std::map<intptr_t, Block> blocks;  // what malloc gave, by address

// All blocks of a launch, one after the other; what went wrong, or nothing.
std::string run_grid(const HostKernel* kernel, HostUint3 grid, HostUint3 block, unsigned shared, void** params);

extern const HostKernel* running;
extern unsigned now, count;                 // the running thread of the block, and how many there are
bool on_stack(intptr_t place);              // whether this is the running thread's own memory
[[noreturn]] void stop(std::string error);  // no thread of this launch goes on; CuPy's caller gets the error

namespace detector {
void begin_launch();
void begin_block();
void block_barrier();             // all threads of the block have reached it
void warp_barrier(unsigned warp);  // all threads of the warp have reached a __syncwarp
void end_of_warp_turn(unsigned warp);
}  // namespace detector
