// The part of cuBLAS that CuPy's products use, as plain loops: a stand-in for tests, column-major like the original.
#include <cstdint>
#include <cstring>

#include "cuda_bf16.h"

namespace {

int pointer_mode = 0, math_mode = 0;
int latest = 0, latest_mode = 0;  // in which type (cublasComputeType_t) and mode the latest product was to be computed
void* stream = nullptr;
long calls = 0;       // of products
bool dropped = false;  // they are counted and not computed

enum Kind { FLOAT = 0, DOUBLE = 1, HALF = 2, BFLOAT = 14 };  // cudaDataType

bool real(int kind) { return kind <= HALF || kind == BFLOAT; }

double load(const void* x, int kind, int64_t i) {
  if (kind == FLOAT) return static_cast<const float*>(x)[i];
  if (kind == DOUBLE) return static_cast<const double*>(x)[i];
  if (kind == BFLOAT) return float(static_cast<const __nv_bfloat16*>(x)[i]);
  return float(static_cast<const _Float16*>(x)[i]);
}

void store(void* x, int kind, int64_t i, double value) {
  if (kind == FLOAT) static_cast<float*>(x)[i] = float(value);
  else if (kind == DOUBLE) static_cast<double*>(x)[i] = value;
  else if (kind == BFLOAT) static_cast<__nv_bfloat16*>(x)[i] = __nv_bfloat16(float(value));
  else static_cast<_Float16*>(x)[i] = _Float16(float(value));
}

void asked_for(int compute) { latest = compute, latest_mode = math_mode; }

int size_of(int kind) { return kind == FLOAT ? 4 : kind == DOUBLE ? 8 : 2; }

// The type of alpha and beta follows from the type in which is computed.
double scalar(const void* x, int compute) {
  bool half = compute == 64 || compute == 65, wide = compute == 70 || compute == 71;
  return load(x, half ? HALF : wide ? DOUBLE : FLOAT, 0);
}

// C = alpha op(A) op(B) + beta C with a stride between the matrices of a stack.
int product(int ta, int tb, int m, int n, int k, double alpha, const void* a, int a_kind, int lda, int64_t a_step, const void* b,
            int b_kind, int ldb, int64_t b_step, double beta, void* c, int c_kind, int ldc, int64_t c_step, int count) {
  if (!real(a_kind) || !real(b_kind) || !real(c_kind)) return 15;  // complex: not supported
  calls++;
  if (dropped) return 0;
  for (int s = 0; s < count; s++) {
    const char* left = static_cast<const char*>(a) + s * a_step * size_of(a_kind);
    const char* right = static_cast<const char*>(b) + s * b_step * size_of(b_kind);
    char* out = static_cast<char*>(c) + s * c_step * size_of(c_kind);
    for (int j = 0; j < n; j++)
      for (int i = 0; i < m; i++) {
        double sum = 0;
        for (int p = 0; p < k; p++)
          sum += load(left, a_kind, ta ? int64_t(i) * lda + p : int64_t(p) * lda + i) *
                 load(right, b_kind, tb ? int64_t(p) * ldb + j : int64_t(j) * ldb + p);
        int64_t at = int64_t(j) * ldc + i;
        store(out, c_kind, at, alpha * sum + (beta != 0 ? beta * load(out, c_kind, at) : 0));
      }
  }
  return 0;
}

template <class T>
int matrix_vector(int trans, int m, int n, T alpha, const T* a, int lda, const T* x, int step_x, T beta, T* y, int step_y) {
  calls++;
  if (dropped) return 0;
  int rows = trans ? n : m, columns = trans ? m : n;
  for (int i = 0; i < rows; i++) {
    double sum = 0;
    for (int p = 0; p < columns; p++)
      sum += double(a[trans ? int64_t(i) * lda + p : int64_t(p) * lda + i]) * x[int64_t(p) * step_x];
    T& out = y[int64_t(i) * step_y];
    out = T(alpha * sum + (beta != 0 ? beta * out : 0));
  }
  return 0;
}

template <class T>
int inner(int n, const T* x, int step_x, const T* y, int step_y, T* result) {
  calls++;
  if (dropped) return 0;
  double sum = 0;
  for (int64_t i = 0; i < n; i++) sum += double(x[i * step_x]) * y[i * step_y];
  *result = T(sum);
  return 0;
}

template <class T>
int outer(int m, int n, T alpha, const T* x, int step_x, const T* y, int step_y, T* a, int lda) {
  calls++;
  if (dropped) return 0;
  for (int64_t j = 0; j < n; j++)
    for (int64_t i = 0; i < m; i++) a[j * lda + i] += alpha * x[i * step_x] * y[j * step_y];
  return 0;
}

// C = alpha op(A) + beta op(B): how CuPy copies a transposed matrix.
template <class T>
int add(int ta, int tb, int m, int n, T alpha, const T* a, int lda, T beta, const T* b, int ldb, T* c, int ldc) {
  calls++;
  if (dropped) return 0;
  for (int64_t j = 0; j < n; j++)
    for (int64_t i = 0; i < m; i++)
      c[j * ldc + i] = (alpha != 0 ? alpha * a[ta ? i * lda + j : j * lda + i] : 0) +
                       (beta != 0 ? beta * b[tb ? i * ldb + j : j * ldb + i] : 0);
  return 0;
}

}  // namespace

extern "C" {
int latest_compute_type() { return latest; }
int latest_math_mode() { return latest_mode; }
long host_products() { return calls; }
void host_drop_products(int on) { dropped = on; }
int cublasCreate_v2(void** handle) { return *handle = reinterpret_cast<void*>(1), 0; }
int cublasDestroy_v2(void*) { return 0; }
int cublasSetStream_v2(void*, void* s) { return stream = s, 0; }
int cublasGetStream_v2(void*, void** s) { return *s = stream, 0; }
int cublasSetPointerMode_v2(void*, int mode) { return pointer_mode = mode, 0; }
int cublasGetPointerMode_v2(void*, int* mode) { return *mode = pointer_mode, 0; }
int cublasSetMathMode(void*, int mode) { return math_mode = mode, 0; }
int cublasGetMathMode(void*, int* mode) { return *mode = math_mode, 0; }
int cublasGetVersion_v2(void*, int* version) { return *version = 130000, 0; }

#define GEMM(letter, T, kind)                                                                                                   \
  int cublas##letter##gemm_v2(void*, int ta, int tb, int m, int n, int k, const T* alpha, const T* a, int lda, const T* b,      \
                              int ldb, const T* beta, T* c, int ldc) {                                                          \
    asked_for(0);                                                                                                               \
    return product(ta, tb, m, n, k, *alpha, a, kind, lda, 0, b, kind, ldb, 0, *beta, c, kind, ldc, 0, 1);                       \
  }                                                                                                                             \
  int cublas##letter##gemmStridedBatched(void*, int ta, int tb, int m, int n, int k, const T* alpha, const T* a, int lda,       \
                                         long long a_step, const T* b, int ldb, long long b_step, const T* beta, T* c, int ldc, \
                                         long long c_step, int count) {                                                         \
    asked_for(0);                                                                                                               \
    return product(ta, tb, m, n, k, *alpha, a, kind, lda, a_step, b, kind, ldb, b_step, *beta, c, kind, ldc, c_step, count);    \
  }                                                                                                                             \
  int cublas##letter##gemmBatched(void*, int ta, int tb, int m, int n, int k, const T* alpha, const T* const* a, int lda,       \
                                  const T* const* b, int ldb, const T* beta, T* const* c, int ldc, int count) {                 \
    asked_for(0);                                                                                                               \
    for (int s = 0; s < count; s++)                                                                                             \
      product(ta, tb, m, n, k, *alpha, a[s], kind, lda, 0, b[s], kind, ldb, 0, *beta, c[s], kind, ldc, 0, 1);                   \
    calls -= count - 1;                                                                                                        \
    return 0;                                                                                                                   \
  }                                                                                                                             \
  int cublas##letter##gemv_v2(void*, int trans, int m, int n, const T* alpha, const T* a, int lda, const T* x, int step_x,      \
                              const T* beta, T* y, int step_y) {                                                                \
    return matrix_vector(trans, m, n, *alpha, a, lda, x, step_x, *beta, y, step_y);                                             \
  }                                                                                                                             \
  int cublas##letter##dot_v2(void*, int n, const T* x, int step_x, const T* y, int step_y, T* result) {                         \
    return inner(n, x, step_x, y, step_y, result);                                                                              \
  }                                                                                                                             \
  int cublas##letter##ger_v2(void*, int m, int n, const T* alpha, const T* x, int step_x, const T* y, int step_y, T* a,         \
                             int lda) {                                                                                         \
    return outer(m, n, *alpha, x, step_x, y, step_y, a, lda);                                                                   \
  }                                                                                                                             \
  int cublas##letter##geam(void*, int ta, int tb, int m, int n, const T* alpha, const T* a, int lda, const T* beta, const T* b, \
                           int ldb, T* c, int ldc) {                                                                            \
    return add(ta, tb, m, n, *alpha, a, lda, *beta, b, ldb, c, ldc);                                                            \
  }
GEMM(S, float, FLOAT)
GEMM(D, double, DOUBLE)

int cublasSgemmEx(void*, int ta, int tb, int m, int n, int k, const float* alpha, const void* a, int a_kind, int lda,
                  const void* b, int b_kind, int ldb, const float* beta, void* c, int c_kind, int ldc) {
  return product(ta, tb, m, n, k, *alpha, a, a_kind, lda, 0, b, b_kind, ldb, 0, *beta, c, c_kind, ldc, 0, 1);
}
int cublasGemmEx(void*, int ta, int tb, int m, int n, int k, const void* alpha, const void* a, int a_kind, int lda, const void* b,
                 int b_kind, int ldb, const void* beta, void* c, int c_kind, int ldc, int compute, int) {
  asked_for(compute);
  return product(ta, tb, m, n, k, scalar(alpha, compute), a, a_kind, lda, 0, b, b_kind, ldb, 0, scalar(beta, compute), c, c_kind,
                 ldc, 0, 1);
}
int cublasGemmStridedBatchedEx(void*, int ta, int tb, int m, int n, int k, const void* alpha, const void* a, int a_kind, int lda,
                               long long a_step, const void* b, int b_kind, int ldb, long long b_step, const void* beta, void* c,
                               int c_kind, int ldc, long long c_step, int count, int compute, int) {
  asked_for(compute);
  return product(ta, tb, m, n, k, scalar(alpha, compute), a, a_kind, lda, a_step, b, b_kind, ldb, b_step, scalar(beta, compute),
                 c, c_kind, ldc, c_step, count);
}
}
