// bfloat16 as CUDA's header names it, as far as CuPy's bfloat16.cuh asks: the upper half of a float, rounded to even.
#pragma once
#include <cstdint>
#include <cstring>

struct __nv_bfloat16 {
  unsigned short bits;

  __nv_bfloat16() = default;
  __nv_bfloat16(float value) {
    uint32_t u;
    std::memcpy(&u, &value, sizeof u);
    bool nan = (u & 0x7fffffffu) > 0x7f800000u;
    bits = nan ? 0x7fff : (unsigned short)((u + 0x7fffu + (u >> 16 & 1u)) >> 16);
  }
  operator float() const {
    uint32_t u = uint32_t(bits) << 16;
    float value;
    std::memcpy(&value, &u, sizeof value);
    return value;
  }
};

static inline bool operator==(const __nv_bfloat16& a, const __nv_bfloat16& b) { return float(a) == float(b); }
static inline unsigned short __bfloat16_as_ushort(const __nv_bfloat16& v) { return v.bits; }
static inline __nv_bfloat16 __ushort_as_bfloat16(unsigned short bits) {
  __nv_bfloat16 v;
  v.bits = bits;
  return v;
}
static inline bool __hisnan(const __nv_bfloat16& v) { return (v.bits & 0x7fff) > 0x7f80; }
static inline int __hisinf(const __nv_bfloat16& v) { return v.bits == 0x7f80 ? 1 : v.bits == 0xff80 ? -1 : 0; }
