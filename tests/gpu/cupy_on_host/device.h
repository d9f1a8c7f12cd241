// CUDA's additions to C++ as plain C++, for the sources that CuPy writes; precompiled, so a kernel compiles in a moment.
#pragma once
#include <algorithm>
#include <cassert>
#include <cmath>
#include <cstddef>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <type_traits>
#include <utility>

#include "kernel.h"

#define __global__
#define __device__
#define __host__
#define __constant__ static
#define __shared__ static
#define __forceinline__ inline
#define __noinline__
#define __restrict__
#define __launch_bounds__(...)
#define __align__(n) __attribute__((aligned(n)))

static const int warpSize = 32;

using std::isfinite;
using std::isinf;
using std::isnan;
using std::max;
using std::min;
using std::signbit;
static inline int max(int a, unsigned b) { return a > int(b) ? a : int(b); }
static inline int min(int a, unsigned b) { return a < int(b) ? a : int(b); }

// ------------------------------------------------------------------------------------------ threads that wait for each other
static inline void __syncthreads() { host_barrier(0); }
static inline void __syncwarp(unsigned = ~0u) { host_barrier(1); }
static inline void __threadfence() {}
static inline void __threadfence_block() {}

template <class T>
T host_shuffle(T value, int from) {
  static_assert(sizeof(T) <= 8, "a shuffle moves at most eight bytes");
  uint64_t bits = 0;
  std::memcpy(&bits, &value, sizeof value);
  bits = host_exchange(bits, unsigned(from));
  std::memcpy(&value, &bits, sizeof value);
  return value;
}
template <class T>
T __shfl_sync(unsigned, T value, int source, int width = 32) {
  return host_shuffle(value, int(host_lane()) / width * width + source % width);
}
template <class T>
T __shfl_down_sync(unsigned, T value, unsigned step, int width = 32) {
  int lane = host_lane();
  return host_shuffle(value, lane % width + int(step) < width ? lane + int(step) : lane);
}
template <class T>
T __shfl_up_sync(unsigned, T value, unsigned step, int width = 32) {
  int lane = host_lane();
  return host_shuffle(value, lane % width >= int(step) ? lane - int(step) : lane);
}
template <class T>
T __shfl_xor_sync(unsigned, T value, int bits, int = 32) {
  return host_shuffle(value, int(host_lane()) ^ bits);
}

// ---------------------------------------------------------------------------- atomics: threads take turns, so nothing can race
#define HOST_ATOMIC(name, expression)             \
  template <class T, class U>                     \
  static inline T name(T* place, U given) {       \
    T old = *place, value = T(given);             \
    *place = expression;                          \
    return old;                                   \
  }
HOST_ATOMIC(atomicAdd, old + value)
HOST_ATOMIC(atomicSub, old - value)
HOST_ATOMIC(atomicMax, value > old ? value : old)
HOST_ATOMIC(atomicMin, value < old ? value : old)
HOST_ATOMIC(atomicExch, value)
HOST_ATOMIC(atomicOr, old | value)
HOST_ATOMIC(atomicAnd, old & value)
HOST_ATOMIC(atomicXor, old ^ value)
template <class T, class U, class V>
static inline T atomicCAS(T* place, U expected, V value) {
  T old = *place;
  if (old == T(expected)) *place = T(value);
  return old;
}

// ------------------------------------------------------------------------------------------------------------- intrinsics
static inline int __popc(unsigned v) { return __builtin_popcount(v); }
static inline int __popcll(unsigned long long v) { return __builtin_popcountll(v); }
static inline int __clz(int v) { return v ? __builtin_clz(unsigned(v)) : 32; }
static inline int __clzll(long long v) { return v ? __builtin_clzll((unsigned long long)v) : 64; }
static inline int __ffs(int v) { return __builtin_ffs(v); }
template <class T>
static inline T __ldg(const T* place) {
  return *place;
}
template <class To, class From>
static inline To host_bits(From from) {
  static_assert(sizeof(To) == sizeof(From), "bits are kept");
  To to;
  std::memcpy(&to, &from, sizeof to);
  return to;
}
static inline float __int_as_float(int v) { return host_bits<float>(v); }
static inline int __float_as_int(float v) { return host_bits<int>(v); }
static inline float __uint_as_float(unsigned v) { return host_bits<float>(v); }
static inline unsigned __float_as_uint(float v) { return host_bits<unsigned>(v); }
static inline double __longlong_as_double(long long v) { return host_bits<double>(v); }
static inline long long __double_as_longlong(double v) { return host_bits<long long>(v); }
static inline unsigned short __float2half_rn(float v) { return host_bits<unsigned short>(_Float16(v)); }
static inline float __half2float(unsigned short v) { return float(host_bits<_Float16>(v)); }
static inline float rsqrtf(float v) { return 1 / std::sqrt(v); }
static inline double rsqrt(double v) { return 1 / std::sqrt(v); }
static inline float rsqrt(float v) { return 1 / std::sqrt(v); }
static inline float __fdividef(float a, float b) { return a / b; }
static inline float sinpif(float v) { return float(std::sin(M_PI * double(v))); }
static inline double sinpi(double v) { return std::sin(M_PI * v); }
static inline double cospi(double v) { return std::cos(M_PI * v); }

// The inverse of the error function, which C++ lacks: Giles 2010 for a beginning, two steps of Halley for the last bits.
static inline double erfinv(double y) {
  if (!(y > -1 && y < 1)) return std::fabs(y) == 1 ? y * INFINITY : NAN;
  double w = -std::log1p(-y * y), x;
  if (w < 5) {
    w -= 2.5;
    x = 2.81022636e-08;
    for (double c : {3.43273939e-07, -3.5233877e-06, -4.39150654e-06, 0.00021858087, -0.00125372503, -0.00417768164, 0.246640727,
                     1.50140941})
      x = c + x * w;
  } else {
    w = std::sqrt(w) - 3;
    x = -0.000200214257;
    for (double c : {0.000100950558, 0.00134934322, -0.00367342844, 0.00573950773, -0.0076224613, 0.00943887047, 1.00167406,
                     2.83297682})
      x = c + x * w;
  }
  x *= y;
  for (int i = 0; i < 2 && std::isfinite(x); i++) {
    double off = x > 0 ? (1 - y) - std::erfc(x) : std::erfc(-x) - (1 + y);
    off /= 1.12837916709551257390 * std::exp(-x * x);
    x -= off / (1 + x * off);
  }
  return x;
}
static inline float erfinv(float y) { return float(erfinv(double(y))); }

// ------------------------------------------------------------------------------------------------- CuPy's own foundations
#include <cupy/complex.cuh>
#include <cupy/carray.cuh>
struct half;
static inline unsigned short __half_as_ushort(const half& v);
static inline half __ushort_as_half(unsigned short v);
#include <cupy/float16.cuh>
static inline unsigned short __half_as_ushort(const half& v) { return __half_raw(v).x; }
static inline half __ushort_as_half(unsigned short v) { return half(__half_raw{v}); }
#include <cupy/bfloat16.cuh>
#include <cupy/atomics.cuh>
#include <cupy/math_constants.h>

// ------------------------------------------------------------------------------------------------------ calling a kernel
template <class... A, std::size_t... I>
static void host_spread(void (*kernel)(A...), void** arguments, std::index_sequence<I...>) {
  kernel(*reinterpret_cast<std::remove_cv_t<std::remove_reference_t<A>>*>(arguments[I])...);
}
#define HOST_KERNEL(name, barriers, loops, ...)                             \
  template <class... A>                                                     \
  static void host_call_##name(void (*kernel)(A...), void** arguments) {    \
    host_spread(kernel, arguments, std::index_sequence_for<A...>{});        \
  }                                                                         \
  extern "C" HostKernel host_kernel_##name = {                              \
      [](void** arguments) { host_call_##name(__VA_ARGS__, arguments); }, barriers, loops};
