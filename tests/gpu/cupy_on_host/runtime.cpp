// What CuPy asks of CUDA's runtime and driver, answered by the host: memory is malloc's, a launch is a loop (threads.cpp).
//
// host_cuda.py puts these functions in the places of CuPy's own before CuPy is imported. Names and parameters are those of
// cupy_backends.cuda.api.runtime and .driver (the last parameter belongs to Cython). Everything happens at once and in order, so
// streams and events are numbers only. A card that is not the current one refuses nothing here: CuPy itself checks that.
#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include <chrono>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <iterator>
#include <map>
#include <string>
#include <vector>

#include "runtime.h"

std::map<intptr_t, Block> blocks;

namespace {

int devices = 1;
thread_local int current = 0;
std::vector<std::string> modules;
std::map<intptr_t, double> marks;  // event -> seconds at its record
intptr_t last_handle = 4096;
long launches = 0;
bool dropped = false;  // launches, large copies and fills are counted and not carried out: what is left is the program's own time
const size_t SMALL = 4096;
PyObject* pointer_attributes = nullptr;  // CuPy's class of that name
PyObject* compile = nullptr;             // (source, name of the kernel) -> address of its HostKernel

// The memory of a pretended card: CUPY_ON_HOST_MIB, or 16 GiB.
const size_t CARD = size_t(getenv("CUPY_ON_HOST_MIB") ? atoll(getenv("CUPY_ON_HOST_MIB")) : 16 << 10) << 20;
size_t held = 0;

PyObject* none() { Py_RETURN_NONE; }

double seconds() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

const size_t GUARD = 512;  // bytes after each piece of memory that nobody may write
const unsigned char UNTOUCHED = 0xA5;

size_t in_steps_of_512(size_t size) { return size ? (size + 511) / 512 * 512 : 512; }

intptr_t take(size_t size, int device) {
  size_t rounded = in_steps_of_512(size);
  if (held + rounded > CARD) {
    PyErr_SetString(PyExc_MemoryError, "the pretended card is full");
    return 0;
  }
  char* memory = static_cast<char*>(std::aligned_alloc(512, rounded + GUARD));
  std::memset(memory, 0xFF, size);  // NaN and -1: what was never written is seen
  std::memset(memory + size, UNTOUCHED, rounded + GUARD - size);
  blocks[intptr_t(memory)] = {size, device};
  held += rounded;
  return intptr_t(memory);
}

PyObject* give_back(intptr_t pointer) {
  if (!pointer) return none();
  auto found = blocks.find(pointer);
  if (found == blocks.end()) {
    PyErr_SetString(PyExc_RuntimeError, "free of memory that was never allocated, or twice");
    return nullptr;
  }
  size_t size = found->second.size, rounded = in_steps_of_512(size);
  bool beyond = false;
  for (size_t i = size; i < rounded + GUARD; i++) beyond = beyond || reinterpret_cast<unsigned char*>(pointer)[i] != UNTOUCHED;
  held -= rounded;
  blocks.erase(found);
  std::free(reinterpret_cast<void*>(pointer));
  if (!beyond) return none();
  PyErr_Format(PyExc_RuntimeError, "somebody wrote beyond the end of a piece of %zu bytes", size);
  return nullptr;
}

const Block* block_of(intptr_t pointer) {
  auto after = blocks.upper_bound(pointer);
  if (after == blocks.begin()) return nullptr;
  auto found = std::prev(after);
  return pointer < found->first + intptr_t(found->second.size) ? &found->second : nullptr;
}

PyObject* copy(intptr_t to, intptr_t from, size_t size) {
  if (dropped && size > SMALL) return none();
  std::memmove(reinterpret_cast<void*>(to), reinterpret_cast<void*>(from), size);
  return none();
}

PyObject* fill(intptr_t to, int value, size_t size) {
  if (dropped && size > SMALL) return none();
  std::memset(reinterpret_cast<void*>(to), value, size);
  return none();
}

PyObject* launch(intptr_t kernel, HostUint3 grid, HostUint3 block, unsigned shared, intptr_t params) {
  launches++;
  if (dropped) return none();
  std::string error = run_grid(reinterpret_cast<HostKernel*>(kernel), grid, block, shared, reinterpret_cast<void**>(params));
  if (error.empty()) return none();
  PyErr_SetString(PyExc_RuntimeError, error.c_str());
  return nullptr;
}

}  // namespace

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
void host_drop(int on) { dropped = on; }


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
intptr_t moduleLoad(PyObject* name, int) {
  PyObject* path;
  if (!PyUnicode_FSConverter(name, &path)) return 0;
  std::ifstream file(PyBytes_AS_STRING(path), std::ios::binary);
  Py_DECREF(path);
  if (!file) {
    PyErr_SetString(PyExc_RuntimeError, "CUDA_ERROR_FILE_NOT_FOUND: file not found");
    return 0;
  }
  modules.emplace_back(std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>());
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
  return launch(kernel, {gx, gy, gz}, {bx, by, bz}, shared, params);
}
PyObject* launchCooperativeKernel(intptr_t kernel, unsigned gx, unsigned gy, unsigned gz, unsigned bx, unsigned by, unsigned bz,
                                  unsigned shared, intptr_t, intptr_t params, int) {
  return launch(kernel, {gx, gy, gz}, {bx, by, bz}, shared, params);
}
}
