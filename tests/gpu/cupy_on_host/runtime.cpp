// What CuPy asks of CUDA's runtime and driver, answered by the host: memory is malloc's, a launch is a loop over threads.
//
// host_cuda.py puts these functions in the places of CuPy's own before CuPy is imported. Names and parameters are those of
// cupy_backends.cuda.api.runtime and .driver (the last parameter belongs to Cython). Everything happens at once and in order, so
// streams and events are numbers only. A card that is not the current one refuses nothing here: CuPy itself checks that.
#define PY_SSIZE_T_CLEAN
#include <Python.h>
#include <setjmp.h>
#include <ucontext.h>

#include <chrono>
#include <cstdlib>
#include <cstring>
#include <map>
#include <string>
#include <vector>

#include "kernel.h"

namespace {

struct Block {
  size_t size;
  int device;
};

int devices = 1;
thread_local int current = 0;
std::map<intptr_t, Block> blocks;  // what malloc gave, by address
std::vector<std::string> modules;
std::map<intptr_t, double> marks;  // event -> seconds at its record
intptr_t last_handle = 4096;
long launches = 0;
PyObject* pointer_attributes = nullptr;  // CuPy's class of that name
PyObject* compile = nullptr;             // (source, name of the kernel) -> address of its HostKernel

// The memory of a pretended card: CUPY_ON_HOST_MIB, or 16 GiB.
const size_t CARD = size_t(getenv("CUPY_ON_HOST_MIB") ? atoll(getenv("CUPY_ON_HOST_MIB")) : 16 << 10) << 20;
size_t held = 0;

PyObject* none() { Py_RETURN_NONE; }

double seconds() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

intptr_t take(size_t size, int device) {
  size_t rounded = (size + 511) / 512 * 512;
  if (held + rounded > CARD) {
    PyErr_SetString(PyExc_MemoryError, "the pretended card is full");
    return 0;
  }
  void* memory = std::aligned_alloc(512, rounded ? rounded : 512);
  std::memset(memory, 0xFF, rounded ? rounded : 512);  // NaN and -1: what was never written is seen
  blocks[intptr_t(memory)] = {rounded, device};
  held += rounded;
  return intptr_t(memory);
}

PyObject* give_back(intptr_t pointer) {
  auto found = blocks.find(pointer);
  if (found == blocks.end() && pointer) {
    PyErr_SetString(PyExc_RuntimeError, "free of memory that was never allocated, or twice");
    return nullptr;
  }
  if (pointer) {
    held -= found->second.size;
    blocks.erase(found);
    std::free(reinterpret_cast<void*>(pointer));
  }
  return none();
}

const Block* block_of(intptr_t pointer) {
  auto after = blocks.upper_bound(pointer);
  if (after == blocks.begin()) return nullptr;
  auto found = std::prev(after);
  return pointer < found->first + intptr_t(found->second.size) ? &found->second : nullptr;
}

PyObject* copy(intptr_t to, intptr_t from, size_t size) {
  std::memmove(reinterpret_cast<void*>(to), reinterpret_cast<void*>(from), size);
  return none();
}

PyObject* fill(intptr_t to, int value, size_t size) {
  std::memset(reinterpret_cast<void*>(to), value, size);
  return none();
}

// ------------------------------------------------------------------------------------------------- threads of a block

// Each thread of a block is a fiber with a stack of its own, where a kernel has barriers; they run in turn, each up to its next
// barrier. The first switch to a fiber is ucontext's, the others are setjmp's, which ask nothing of the kernel.
enum State { READY, AT_BLOCK_BARRIER, AT_WARP_BARRIER, DONE };

struct Fiber {
  ucontext_t first;
  jmp_buf place;
  bool started = false;
  State state = DONE;
  HostUint3 index;
};

const size_t STACK = 64 << 10;
std::vector<Fiber*> fibers;
unsigned now = 0, count = 0;
bool in_fibers = false;
jmp_buf home;
ucontext_t unused;
const HostKernel* running = nullptr;
void** arguments = nullptr;
std::vector<uint64_t> shown;

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

void resume(unsigned number) {
  now = number;
  Fiber* fiber = fibers[number];
  threadIdx = fiber->index;
  if (_setjmp(home)) return;
  if (fiber->started) _longjmp(fiber->place, 1);
  fiber->started = true;
  setcontext(&fiber->first);
}

// Let those go on that have all arrived: a warp at its barrier, else the block at its own.
bool release() {
  bool any = false, block = true;
  for (unsigned warp = 0; warp < count; warp += 32) {
    bool all = true, some = false;
    for (unsigned i = warp; i < count && i < warp + 32; i++) {
      all = all && (fibers[i]->state == AT_WARP_BARRIER || fibers[i]->state == DONE);
      some = some || fibers[i]->state == AT_WARP_BARRIER;
    }
    if (all && some) {
      for (unsigned i = warp; i < count && i < warp + 32; i++)
        if (fibers[i]->state == AT_WARP_BARRIER) fibers[i]->state = READY;
      any = true;
    }
  }
  if (any) return true;
  for (unsigned i = 0; i < count; i++) {
    block = block && (fibers[i]->state == AT_BLOCK_BARRIER || fibers[i]->state == DONE);
    any = any || fibers[i]->state == AT_BLOCK_BARRIER;
  }
  for (unsigned i = 0; block && i < count; i++)
    if (fibers[i]->state == AT_BLOCK_BARRIER) fibers[i]->state = READY;
  return any && block;
}

bool run_block() {
  for (unsigned i = 0; i < count; i++) fibers[i]->state = READY;
  do {
    for (unsigned i = 0; i < count; i++)
      if (fibers[i]->state == READY) resume(i);
  } while (release());
  for (unsigned i = 0; i < count; i++)
    if (fibers[i]->state != DONE) return false;
  return true;
}

void prepare(unsigned size) {
  while (fibers.size() < size) {
    Fiber* fiber = new Fiber;
    getcontext(&fiber->first);
    fiber->first.uc_stack.ss_sp = std::malloc(STACK);
    fiber->first.uc_stack.ss_size = STACK;
    fiber->first.uc_link = &unused;
    makecontext(&fiber->first, live, 0);
    fibers.push_back(fiber);
  }
  shown.resize(fibers.size());
  count = size;
  unsigned i = 0;
  for (unsigned z = 0; z < blockDim.z; z++)
    for (unsigned y = 0; y < blockDim.y; y++)
      for (unsigned x = 0; x < blockDim.x; x++) fibers[i++]->index = {x, y, z};
}

PyObject* launch(const HostKernel* kernel, HostUint3 grid, HostUint3 block, unsigned shared, void** params) {
  launches++;
  if (kernel->loops) grid = block = {1, 1, 1};  // its loop over elements goes on until the end with one thread too
  gridDim = grid;
  blockDim = block;
  running = kernel;
  arguments = params;
  std::vector<char> memory(shared + 1024, char(0xFF));
  host_dynamic_shared = memory.data() + (64 - uintptr_t(memory.data()) % 64);
  unsigned size = block.x * block.y * block.z;
  if (kernel->barriers) prepare(size);
  for (unsigned z = 0; z < grid.z; z++)
    for (unsigned y = 0; y < grid.y; y++)
      for (unsigned x = 0; x < grid.x; x++) {
        blockIdx = {x, y, z};
        if (kernel->barriers) {
          in_fibers = true;
          bool ended = run_block();
          in_fibers = false;
          if (!ended) {
            PyErr_SetString(PyExc_RuntimeError, "a kernel's threads wait at different barriers");
            return nullptr;
          }
          continue;
        }
        for (unsigned c = 0; c < block.z; c++)
          for (unsigned b = 0; b < block.y; b++)
            for (unsigned a = 0; a < block.x; a++) {
              threadIdx = {a, b, c};
              kernel->call(params);
            }
      }
  return none();
}

}  // namespace

HostUint3 threadIdx, blockIdx, blockDim, gridDim;
char* host_dynamic_shared = nullptr;

void host_barrier(int of_warp) {
  if (!in_fibers) return;
  fibers[now]->state = of_warp ? AT_WARP_BARRIER : AT_BLOCK_BARRIER;
  leave();
}

unsigned host_lane() { return now % 32; }

uint64_t host_exchange(uint64_t value, unsigned from) {
  if (!in_fibers) return value;
  shown[now] = value;
  host_barrier(1);
  unsigned other = now / 32 * 32 + from;
  uint64_t result = from < 32 && other < count ? shown[other] : value;
  host_barrier(1);
  return result;
}

extern "C" {

// ------------------------------------------------------------------------------------------------------ for host_cuda.py

void host_configure(int number, PyObject* attributes, PyObject* compiler) {
  devices = number;
  Py_INCREF(attributes);
  Py_INCREF(compiler);
  pointer_attributes = attributes;
  compile = compiler;
}

long host_launches() { return launches; }

// ---------------------------------------------------------------------------------------------------------- the runtime

PyObject* deviceSynchronize(int) { return none(); }
PyObject* memGetInfo(int) { return Py_BuildValue("(KK)", (unsigned long long)(CARD - held), (unsigned long long)CARD); }
PyObject* _deviceEnsurePeerAccess(int, int) { return none(); }
PyObject* deviceEnablePeerAccess(int, int) { return none(); }
PyObject* check_status(int status, int) {
  if (!status) return none();
  PyErr_Format(PyExc_RuntimeError, "CUDA status %d", status);
  return nullptr;
}
PyObject* deviceGetPCIBusId(int device, int) { return PyUnicode_FromFormat("0000:%02d:00.0", device); }
PyObject* getDeviceProperties(int, int) {
  return Py_BuildValue(
      "{s:y,s:i,s:i,s:i,s:i,s:i,s:i,s:K,s:i,s:i,s:i,s:i}", "name", "host memory, no card", "major", 9, "minor", 0,
      "multiProcessorCount", 8, "maxThreadsPerBlock", 1024, "sharedMemPerBlock", 49152, "warpSize", 32, "totalGlobalMem",
      (unsigned long long)CARD, "maxThreadsPerMultiProcessor", 2048, "regsPerBlock", 65536, "sharedMemPerBlockOptin", 232448,
      "l2CacheSize", 1 << 20);
}
PyObject* setDevice(int device, int) {
  if (device < 0 || device >= devices) {
    PyErr_SetString(PyExc_RuntimeError, "cudaErrorInvalidDevice: invalid device ordinal");
    return nullptr;
  }
  current = device;
  return none();
}
int getDevice(int) { return current; }
int getDeviceCount(int) { return devices; }
int runtimeGetVersion(int) { return 13000; }
int driverGetVersion(int) { return 13000; }
int _getCUDAMajorVersion(int) { return 13; }
int deviceCanAccessPeer(int, int, int) { return 1; }
int deviceGetAttribute(int attribute, int, int) {
  static const std::map<int, int> known = {
      {1, 1024}, {2, 1024}, {3, 1024}, {4, 64},    {5, 2147483647}, {6, 65535}, {7, 65535}, {8, 49152},  {10, 32},
      {12, 65536}, {16, 8}, {39, 2048}, {75, 9}, {76, 0},         {81, 233472}, {82, 65536}, {95, 1}, {97, 232448}};
  auto found = known.find(attribute);
  return found == known.end() ? 0 : found->second;
}
PyObject* _ensure_context() { return none(); }

intptr_t malloc_(size_t size, int) { return take(size, current); }
intptr_t mallocAsync(size_t size, intptr_t, int) { return take(size, current); }
intptr_t hostAlloc(size_t size, unsigned, int) { return take(size, -1); }
PyObject* free_(intptr_t pointer, int) { return give_back(pointer); }
PyObject* freeAsync(intptr_t pointer, intptr_t, int) { return give_back(pointer); }
PyObject* freeHost(intptr_t pointer, int) { return give_back(pointer); }
PyObject* memcpy_(intptr_t to, intptr_t from, size_t size, int, int) { return copy(to, from, size); }
PyObject* memcpyAsync(intptr_t to, intptr_t from, size_t size, int, intptr_t, int) { return copy(to, from, size); }
PyObject* memcpyPeer(intptr_t to, int, intptr_t from, int, size_t size, int) { return copy(to, from, size); }
PyObject* memcpyPeerAsync(intptr_t to, int, intptr_t from, int, size_t size, intptr_t, int) { return copy(to, from, size); }
PyObject* memset_(intptr_t to, int value, size_t size, int) { return fill(to, value, size); }
PyObject* memsetAsync(intptr_t to, int value, size_t size, intptr_t, int) { return fill(to, value, size); }
int pointerGetMemoryType(intptr_t pointer, int) {
  const Block* block = block_of(pointer);
  return block ? (block->device < 0 ? 1 : 2) : 0;
}
PyObject* pointerGetAttributes(intptr_t pointer, int) {
  const Block* block = block_of(pointer);
  int device = block ? block->device : -1;
  return PyObject_CallFunction(pointer_attributes, "inni", device < 0 ? 0 : device, device < 0 ? intptr_t(0) : pointer,
                               device < 0 ? pointer : intptr_t(0), pointerGetMemoryType(pointer, 0));
}

intptr_t streamCreate(int) { return ++last_handle; }
intptr_t streamCreateWithFlags(unsigned, int) { return ++last_handle; }
intptr_t streamCreateWithPriority(unsigned, int, int) { return ++last_handle; }
PyObject* streamDestroy(intptr_t, int) { return none(); }
PyObject* streamQuery(intptr_t, int) { return PyLong_FromLong(0); }
PyObject* streamSynchronize(intptr_t, int) { return none(); }
PyObject* streamWaitEvent(intptr_t, intptr_t, int, void*) { return none(); }
int streamGetPriority(intptr_t, int) { return 0; }
int streamIsCapturing(intptr_t, int) { return 0; }
intptr_t eventCreate(int) { return ++last_handle; }
intptr_t eventCreateWithFlags(unsigned, int) { return ++last_handle; }
PyObject* eventDestroy(intptr_t, int) { return none(); }
PyObject* eventQuery(intptr_t, int) { return PyLong_FromLong(0); }
PyObject* eventSynchronize(intptr_t, int) { return none(); }
PyObject* eventRecord(intptr_t event, intptr_t, int) {
  marks[event] = seconds();
  return none();
}
float eventElapsedTime(intptr_t first, intptr_t second, int) { return float((marks[second] - marks[first]) * 1e3); }

// ----------------------------------------------------------------------------------------------------------- the driver

intptr_t ctxGetCurrent(int) { return 1; }
intptr_t streamGetCtx(intptr_t, int) { return 1; }
intptr_t moduleLoadData(PyObject* image, int) {
  char* text;
  Py_ssize_t size;
  if (PyBytes_AsStringAndSize(image, &text, &size)) return 0;
  modules.emplace_back(text, size);
  return intptr_t(modules.size());
}
PyObject* moduleUnload(intptr_t, int) { return none(); }
intptr_t moduleGetFunction(intptr_t module, PyObject* name, int) {
  const std::string& source = modules[module - 1];
  PyObject* address = PyObject_CallFunction(compile, "y#O", source.data(), Py_ssize_t(source.size()), name);
  if (!address) return 0;
  intptr_t result = PyLong_AsSsize_t(address);
  Py_DECREF(address);
  return result;
}
int funcGetAttribute(int attribute, intptr_t, int) { return attribute == 0 ? 1024 : 0; }
PyObject* funcSetAttribute(intptr_t, int, int, int) { return none(); }
int occupancyMaxActiveBlocksPerMultiprocessor(intptr_t, int, size_t, int) { return 8; }
PyObject* occupancyMaxPotentialBlockSize(intptr_t, size_t, int, int) { return Py_BuildValue("(ii)", 8, 256); }
PyObject* launchKernel(intptr_t kernel, unsigned gx, unsigned gy, unsigned gz, unsigned bx, unsigned by, unsigned bz,
                       unsigned shared, intptr_t, intptr_t params, intptr_t, int) {
  return launch(reinterpret_cast<HostKernel*>(kernel), {gx, gy, gz}, {bx, by, bz}, shared, reinterpret_cast<void**>(params));
}
PyObject* launchCooperativeKernel(intptr_t kernel, unsigned gx, unsigned gy, unsigned gz, unsigned bx, unsigned by, unsigned bz,
                                  unsigned shared, intptr_t, intptr_t params, int) {
  return launch(reinterpret_cast<HostKernel*>(kernel), {gx, gy, gz}, {bx, by, bz}, shared, reinterpret_cast<void**>(params));
}
}
