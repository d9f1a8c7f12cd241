// The functions of NVIDIA's libdevice that our kernels call, by the C library: the values agree to rounding, not to the bit.
#include <cmath>
#include <cstdlib>

#define ONE_ARGUMENT(name, function)                                      \
  extern "C" double __nv_##name(double x) { return std::function(x); }    \
  extern "C" float __nv_##name##f(float x) { return std::function(x); }
#define TWO_ARGUMENTS(name, function)                                                    \
  extern "C" double __nv_##name(double x, double y) { return std::function(x, y); }     \
  extern "C" float __nv_##name##f(float x, float y) { return std::function(x, y); }

ONE_ARGUMENT(fabs, fabs)
ONE_ARGUMENT(sqrt, sqrt)
ONE_ARGUMENT(exp, exp)
ONE_ARGUMENT(exp2, exp2)
ONE_ARGUMENT(expm1, expm1)
ONE_ARGUMENT(log, log)
ONE_ARGUMENT(log2, log2)
ONE_ARGUMENT(log10, log10)
ONE_ARGUMENT(log1p, log1p)
ONE_ARGUMENT(sin, sin)
ONE_ARGUMENT(cos, cos)
ONE_ARGUMENT(tan, tan)
ONE_ARGUMENT(tanh, tanh)
ONE_ARGUMENT(erf, erf)
ONE_ARGUMENT(erfc, erfc)
ONE_ARGUMENT(floor, floor)
ONE_ARGUMENT(ceil, ceil)
ONE_ARGUMENT(trunc, trunc)
ONE_ARGUMENT(cbrt, cbrt)
ONE_ARGUMENT(lgamma, lgamma)
TWO_ARGUMENTS(fmax, fmax)
TWO_ARGUMENTS(fmin, fmin)
TWO_ARGUMENTS(fmod, fmod)
TWO_ARGUMENTS(pow, pow)
TWO_ARGUMENTS(atan2, atan2)
TWO_ARGUMENTS(copysign, copysign)

extern "C" {
double __nv_rsqrt(double x) { return 1 / std::sqrt(x); }
float __nv_rsqrtf(float x) { return 1 / std::sqrt(x); }
double __nv_fma(double x, double y, double z) { return std::fma(x, y, z); }
float __nv_fmaf(float x, float y, float z) { return std::fma(x, y, z); }
double __nv_powi(double x, int n) { return std::pow(x, n); }
float __nv_powif(float x, int n) { return float(std::pow(double(x), n)); }
int __nv_isnand(double x) { return std::isnan(x); }
int __nv_isnanf(float x) { return std::isnan(x); }
int __nv_isinfd(double x) { return std::isinf(x); }
int __nv_isinff(float x) { return std::isinf(x); }
int __nv_abs(int x) { return std::abs(x); }
long long __nv_llabs(long long x) { return std::llabs(x); }
}
