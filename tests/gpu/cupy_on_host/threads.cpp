// The threads of a block as fibers, the barriers where they meet, and a grid of blocks as a loop.
#include <setjmp.h>
#include <ucontext.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <numeric>
#include <random>
#include <string>
#include <vector>

#include "runtime.h"

const HostKernel* running = nullptr;
unsigned now = 0, count = 0;

namespace {

// Each thread of a block is a fiber with a stack of its own, where a kernel has barriers; they run in turn, each up to its next
// barrier. The first switch to a fiber is ucontext's, the others are setjmp's, which ask nothing of the kernel.
enum State { READY, AT_BLOCK_BARRIER, AT_WARP_BARRIER, DONE };
enum Meeting { OTHER, SYNC, SHUFFLE };  // what a warp waits for

struct Fiber {
  ucontext_t first;
  jmp_buf place;
  bool started = false;
  State state = DONE;
  Meeting meeting = OTHER;
  unsigned mask = ~0u, site = 0, exchanges = 0;
  uint64_t shown[2];
  HostUint3 index;
};

const size_t STACK = 64 << 10;
std::vector<Fiber*> fibers;
bool in_fibers = false, stopped = false;
std::string reason;
jmp_buf home;
ucontext_t unused;
void** arguments = nullptr;

// In which order threads that could all go on do go on, and the blocks of a grid: results must not depend on it.
enum Order { FORWARDS, BACKWARDS, MIXED };
Order order = FORWARDS;
std::mt19937 mixer;

void leave() {
  if (!_setjmp(fibers[now]->place)) _longjmp(home, 1);
}

void live() {
  for (;;) {
    running->call(arguments);
    fibers[now]->state = DONE;
    leave();
  }
}

void begin_anew(Fiber* fiber) {
  char* stack = fiber->first.uc_stack.ss_sp ? static_cast<char*>(fiber->first.uc_stack.ss_sp) : nullptr;
  getcontext(&fiber->first);
  fiber->first.uc_stack.ss_sp = stack ? stack : std::malloc(STACK);
  fiber->first.uc_stack.ss_size = STACK;
  fiber->first.uc_link = &unused;
  fiber->started = false;
  makecontext(&fiber->first, live, 0);
}

void resume(unsigned number) {
  now = number;
  Fiber* fiber = fibers[number];
  threadIdx = fiber->index;
  if (_setjmp(home)) return;
  if (fiber->started) _longjmp(fiber->place, 1);
  fiber->started = true;
  setcontext(&fiber->first);
}

std::string text(HostUint3 at) {
  return "(" + std::to_string(at.x) + ", " + std::to_string(at.y) + ", " + std::to_string(at.z) + ")";
}

std::string site(unsigned number) { return running->sites ? std::string(" at ") + running->sites[number] : std::string(); }

std::string thread_name(unsigned number) {
  return "thread " + text(fibers[number]->index);
}

void give_up(const std::string& error) {
  stopped = true;
  reason = error;
}

// In kernels that are watched: a shuffle needs every lane that its mask names, and all of a warp meet at one place.
void check_meeting(unsigned first, unsigned last) {
  unsigned one = first;
  while (fibers[one]->state != AT_WARP_BARRIER) one++;
  for (unsigned lane = 0; lane < 32; lane++) {
    unsigned i = first + lane;
    bool here = i < last && fibers[i]->state == AT_WARP_BARRIER;
    if (here && (fibers[i]->site != fibers[one]->site || fibers[i]->meeting != fibers[one]->meeting))
      return give_up("a warp's threads meet at different places: " + thread_name(one) + site(fibers[one]->site) + ", " +
                     thread_name(i) + site(fibers[i]->site));
    bool named = fibers[one]->mask >> lane & 1;
    if (here && !(fibers[i]->mask >> i % 32 & 1))
      return give_up("the mask of " + thread_name(i) + site(fibers[i]->site) + " leaves out the thread itself");
    if (named && !here && fibers[one]->meeting == SHUFFLE)
      return give_up("the mask of a shuffle" + site(fibers[one]->site) + " names lane " + std::to_string(lane) +
                     (i < last ? ", which has ended" : ", which the block does not have"));
  }
}

// Let the threads of a warp go on where all have arrived at its barrier.
bool release_warp(unsigned first, unsigned last) {
  bool all = true, some = false;
  for (unsigned i = first; i < last; i++) {
    all = all && (fibers[i]->state == AT_WARP_BARRIER || fibers[i]->state == DONE);
    some = some || fibers[i]->state == AT_WARP_BARRIER;
  }
  if (!all || !some) return false;
  bool sync = false;
  unsigned everybody = 0, mask = ~0u;
  for (unsigned i = first; i < last; i++)
    if (fibers[i]->state == AT_WARP_BARRIER) {
      everybody |= 1u << i % 32;
      mask &= fibers[i]->mask;
      sync = fibers[i]->meeting == SYNC;
    }
  if (running->sites) {
    check_meeting(first, last);
    if (stopped) return false;
    if (sync && (mask & everybody) == everybody) detector::warp_barrier(first / 32);
  }
  for (unsigned i = first; i < last; i++)
    if (fibers[i]->state == AT_WARP_BARRIER) fibers[i]->state = READY;
  return true;
}

// Let the block go on where all have arrived at its barrier.
bool release_block() {
  unsigned waiting = 0, one = 0;
  for (unsigned i = 0; i < count; i++) {
    if (fibers[i]->state == AT_WARP_BARRIER) {
      give_up("a kernel's threads wait at different barriers: " + thread_name(i) + " for its warp" + site(fibers[i]->site));
      return false;
    }
    if (fibers[i]->state == AT_BLOCK_BARRIER) one = waiting++ ? one : i;
  }
  if (!waiting) return false;
  for (unsigned i = 0; running->sites && i < count; i++) {
    if (fibers[i]->state == DONE) {
      give_up(thread_name(i) + " has ended without reaching the barrier where " + thread_name(one) + " waits" +
              site(fibers[one]->site));
      return false;
    }
    if (fibers[i]->site != fibers[one]->site) {
      give_up("a kernel's threads wait at different barriers: " + thread_name(one) + site(fibers[one]->site) + ", " +
              thread_name(i) + site(fibers[i]->site));
      return false;
    }
  }
  if (running->sites) detector::block_barrier();
  for (unsigned i = 0; i < count; i++)
    if (fibers[i]->state == AT_BLOCK_BARRIER) fibers[i]->state = READY;
  return true;
}

void in_order(std::vector<unsigned>& numbers, unsigned size) {
  numbers.resize(size);
  std::iota(numbers.begin(), numbers.end(), 0u);
  if (order == BACKWARDS) std::reverse(numbers.begin(), numbers.end());
  if (order == MIXED) std::shuffle(numbers.begin(), numbers.end(), mixer);
}

void run_warp(unsigned first, unsigned last) {
  std::vector<unsigned> lanes;
  do {
    if (order == FORWARDS) {
      for (unsigned i = first; i < last && !stopped; i++)
        if (fibers[i]->state == READY) resume(i);
      continue;
    }
    in_order(lanes, last - first);
    for (unsigned lane : lanes)
      if (!stopped && fibers[first + lane]->state == READY) resume(first + lane);
  } while (!stopped && release_warp(first, last));
  if (running->sites && !stopped) detector::end_of_warp_turn(first / 32);
}

void run_block() {
  for (unsigned i = 0; i < count; i++) fibers[i]->state = READY, fibers[i]->exchanges = 0;
  if (running->shared_size) std::memset(running->shared, 0xFF, running->shared_size);
  if (running->sites) detector::begin_block();
  std::vector<unsigned> warps;
  do {
    in_order(warps, (count + 31) / 32);
    for (unsigned warp : warps)
      if (!stopped) run_warp(warp * 32, std::min(count, warp * 32 + 32));
  } while (!stopped && release_block());
}

void prepare(unsigned size) {
  while (fibers.size() < size) {
    Fiber* fiber = new Fiber;
    fiber->first.uc_stack.ss_sp = nullptr;
    begin_anew(fiber);
    fibers.push_back(fiber);
  }
  count = size;
  unsigned i = 0;
  for (unsigned z = 0; z < blockDim.z; z++)
    for (unsigned y = 0; y < blockDim.y; y++)
      for (unsigned x = 0; x < blockDim.x; x++) fibers[i++]->index = {x, y, z};
}

// What CUDA refuses; null where it would launch.
const char* refused(const HostKernel* kernel, HostUint3 grid, HostUint3 block, unsigned shared) {
  uint64_t threads = uint64_t(block.x) * block.y * block.z;
  if (!threads || threads > 1024 || block.x > 1024 || block.y > 1024 || block.z > 64) return "the block's size";
  if (kernel->most_threads && threads > kernel->most_threads) return "more threads than the kernel's launch bounds";
  if (!grid.x || !grid.y || !grid.z || grid.x > 2147483647u || grid.y > 65535 || grid.z > 65535) return "the grid's size";
  if (kernel->shared_size && kernel->shared_size + shared > 48 << 10) return "the shared memory";
  return nullptr;
}

void run_in_turn(void** params) {
  for (unsigned z = 0; z < blockDim.z; z++)
    for (unsigned y = 0; y < blockDim.y; y++)
      for (unsigned x = 0; x < blockDim.x; x++) {
        threadIdx = {x, y, z};
        running->call(params);
      }
}

void wait_for_warp(Meeting meeting, unsigned mask, unsigned where) {
  Fiber* fiber = fibers[now];
  fiber->meeting = meeting;
  fiber->mask = mask;
  fiber->site = where;
  fiber->state = AT_WARP_BARRIER;
  leave();
}

// The value that another lane shows. One meeting is enough: a lane that is one exchange ahead shows in the other place.
uint64_t exchange(uint64_t value, unsigned from, unsigned mask, unsigned where) {
  Fiber* fiber = fibers[now];
  unsigned number = ++fiber->exchanges;
  fiber->shown[number % 2] = value;
  wait_for_warp(SHUFFLE, mask, where);
  unsigned other = now / 32 * 32 + from;
  bool shows = from < 32 && other < count && fibers[other]->exchanges >= number;
  return shows ? fibers[other]->shown[number % 2] : value;
}

}  // namespace

HostUint3 threadIdx, blockIdx, blockDim, gridDim;
char* host_dynamic_shared = nullptr;

std::string run_grid(const HostKernel* kernel, HostUint3 grid, HostUint3 block, unsigned shared, void** params) {
  if (const char* why = refused(kernel, grid, block, shared))
    return "CUDA_ERROR_INVALID_VALUE: " + std::string(why) + ", grid " + text(grid) + ", block " + text(block);
  if (kernel->loops) grid = block = {1, 1, 1};  // its loop over elements goes on until the end with one thread too
  gridDim = grid;
  blockDim = block;
  running = kernel;
  arguments = params;
  std::vector<char> memory(shared + 1024, char(0xFF));
  host_dynamic_shared = memory.data() + (64 - uintptr_t(memory.data()) % 64);
  bool with_fibers = kernel->barriers || kernel->sites;
  if (with_fibers) prepare(block.x * block.y * block.z);
  if (kernel->sites) detector::begin_launch();
  stopped = false;
  uint64_t total = uint64_t(grid.x) * grid.y * grid.z, step = 1, at = 0;
  if (order == BACKWARDS) step = at = total - 1;
  if (order == MIXED) {
    at = mixer() % total;
    do step = total < 2 ? 1 : 1 + mixer() % (total - 1);
    while (std::gcd(step, total) != 1);
  }
  for (uint64_t done = 0; done < total; done++, at = (at + step) % total) {
    blockIdx = {unsigned(at % grid.x), unsigned(at / grid.x % grid.y), unsigned(at / grid.x / grid.y)};
    if (!with_fibers) {
      run_in_turn(params);
      continue;
    }
    in_fibers = true;
    run_block();
    in_fibers = false;
    if (!stopped) continue;
    for (Fiber* fiber : fibers) begin_anew(fiber);
    return kernel->name ? std::string(kernel->name) + ", block " + text(blockIdx) + ": " + reason : reason;
  }
  return "";
}

bool on_stack(intptr_t place) {
  intptr_t stack = intptr_t(fibers[now]->first.uc_stack.ss_sp);
  return place >= stack && place < stack + intptr_t(STACK);
}

void stop(std::string error) {
  give_up(thread_name(now) + " " + error);
  _longjmp(home, 1);
}

void host_barrier(int of_warp) {
  if (!in_fibers) return;
  if (of_warp) return wait_for_warp(SYNC, ~0u, 0);
  fibers[now]->state = AT_BLOCK_BARRIER;
  leave();
}

unsigned host_lane() { return now % 32; }

uint64_t host_exchange(uint64_t value, unsigned from) { return in_fibers ? exchange(value, from, ~0u, 0) : value; }

void host_block_barrier(unsigned where) {
  fibers[now]->site = where;
  host_barrier(0);
}

void host_warp_barrier(unsigned mask, unsigned where) { wait_for_warp(SYNC, mask, where); }

// PTX's shfl.sync: modes idx, up, down and bfly; the lower half of the result is the value, bit 32 says whether the lane is one
// of the segment that clamp describes.
uint64_t host_shuffle(unsigned mask, unsigned mode, unsigned value, unsigned lane, unsigned clamp, unsigned where) {
  int own = int(now % 32), segment = int(clamp >> 8 & 31), step = int(lane & 31), limit = int(clamp & 31);
  int lowest = own & segment, highest = lowest | (limit & ~segment), from = own;
  bool inside = false;
  if (mode == 0) from = lowest | (step & ~segment), inside = from <= highest;
  if (mode == 1) from = own - step, inside = from >= highest;
  if (mode == 2) from = own + step, inside = from <= highest;
  if (mode == 3) from = own ^ step, inside = from <= highest;
  uint64_t found = exchange(value, unsigned(inside ? from : own), mask, where);
  return (found & 0xFFFFFFFFu) | uint64_t(inside) << 32;
}

extern "C" void host_order(int wanted, unsigned seed) {
  order = Order(wanted);
  mixer.seed(seed);
}
