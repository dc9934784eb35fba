// cuBLAS as difftensor calls it while a stream captures.
#include <complex>
#include <functional>
#include <vector>
#include <cmath>
#define C extern "C"
C int emu_captured(void* s, void (*f)(void*), void* data);
static void* stream = nullptr;
typedef std::function<void()> Step;
static int go(Step f) { Step* p = new Step(f); auto run = [](void* q) { (*(Step*)q)(); }; if (!emu_captured(stream, run, p)) (*p)(); return 0; }
C int cublasSetStream_v2(void*, void* s) { stream = s; return 0; }
template <class T> T cj(T x) { return x; }
template <class T> std::complex<T> cj(std::complex<T> x) { return std::conj(x); }
template <class T> T el(const T* a, int t, int i, int j, int ld) { return t == 0 ? a[i + (long)j * ld] : t == 1 ? a[j + (long)i * ld] : cj(a[j + (long)i * ld]); }
template <class T> void gemm(int ta, int tb, int m, int n, int k, T al, const T* A, int lda, const T* B, int ldb, T be, T* c, int ldc) {
  std::vector<T> r((size_t)m * n);
  for (int j = 0; j < n; j++) for (int i = 0; i < m; i++) { T s = 0; for (int p = 0; p < k; p++) s += el(A, ta, i, p, lda) * el(B, tb, p, j, ldb); r[i + (size_t)j * m] = s; }
  for (int j = 0; j < n; j++) for (int i = 0; i < m; i++) { T& o = c[i + (long)j * ldc]; o = al * r[i + (size_t)j * m] + (be == T(0) ? T(0) : be * o); } }
typedef std::complex<float> F; typedef std::complex<double> Z;
template <class T> int ex(int ta, int tb, int m, int n, int k, const void* al, const void* A, int lda, long sa, const void* B, int ldb, long sb, const void* be, void* c, int ldc, long sc, int count) {
  T a = *(T*)al, b = *(T*)be;
  return go([=] { for (int i = 0; i < count; i++) gemm<T>(ta, tb, m, n, k, a, (T*)A + i * sa, lda, (T*)B + i * sb, ldb, b, (T*)c + i * sc, ldc); }); }
#define TYPES(t, call) switch (t) { case 0: return call(float); case 1: return call(double); case 4: return call(F); case 5: return call(Z); } return 15;
C int cublasGemmEx(void*, int ta, int tb, int m, int n, int k, const void* al, const void* A, int at, int lda, const void* B, int bt, int ldb, const void* be, void* c, int ct, int ldc, int comp, int algo) {
  if (comp < 64) return 7;
#define CALL(T) ex<T>(ta, tb, m, n, k, al, A, lda, 0, B, ldb, 0, be, c, ldc, 0, 1)
  TYPES(ct, CALL) }
C int cublasGemmStridedBatchedEx(void*, int ta, int tb, int m, int n, int k, const void* al, const void* A, int at, int lda, long long sa, const void* B, int bt, int ldb, long long sb, const void* be, void* c, int ct, int ldc, long long sc, int count, int comp, int algo) {
  if (comp < 64) return 7;
#define CALLS(T) ex<T>(ta, tb, m, n, k, al, A, lda, sa, B, ldb, sb, be, c, ldc, sc, count)
  TYPES(ct, CALLS) }
template <class T> int batched(int ta, int tb, int m, int n, int k, const T* al, const T** A, int lda, const T** B, int ldb, const T* be, T** c, int ldc, int count) {
  T a = *al, b = *be; return go([=] { for (int i = 0; i < count; i++) gemm<T>(ta, tb, m, n, k, a, A[i], lda, B[i], ldb, b, c[i], ldc); }); }
template <class T> int geam(int ta, int tb, int m, int n, const T* al, const T* A, int lda, const T* be, const T* B, int ldb, T* c, int ldc) {
  T a = *al, b = *be; return go([=] { for (int j = 0; j < n; j++) for (int i = 0; i < m; i++) c[i + (long)j * ldc] = a * el(A, ta, i, j, lda) + (b == T(0) ? T(0) : b * el(B, tb, i, j, ldb)); }); }
template <class T> int lu(int n, T** A, int lda, int* piv, int* info, int count) {
  return go([=] { for (int q = 0; q < count; q++) { T* a = A[q]; info[q] = 0;
    for (int k = 0; k < n; k++) { int p = k; for (int i = k + 1; i < n; i++) if (std::abs(a[i + k * lda]) > std::abs(a[p + k * lda])) p = i;
      if (piv) piv[q * n + k] = p + 1;
      if (a[p + k * lda] == T(0)) { if (!info[q]) info[q] = k + 1; continue; }
      for (int j = 0; j < n; j++) std::swap(a[k + j * lda], a[p + j * lda]);
      for (int i = k + 1; i < n; i++) { T f = a[i + k * lda] /= a[k + k * lda]; for (int j = k + 1; j < n; j++) a[i + j * lda] -= f * a[k + j * lda]; } } } }); }
template <class T> void solve(const T* a, int lda, const int* piv, int n, int t, T* b, int ldb, int r) {
  for (int c = 0; c < r; c++) { T* x = b + (long)c * ldb;
    if (t == 0) { for (int k = 0; k < n; k++) std::swap(x[k], x[piv[k] - 1]);
      for (int i = 0; i < n; i++) for (int j = 0; j < i; j++) x[i] -= a[i + j * lda] * x[j];
      for (int i = n - 1; i >= 0; i--) { for (int j = i + 1; j < n; j++) x[i] -= a[i + j * lda] * x[j]; x[i] /= a[i + i * lda]; } }
    else { auto e = [&](int i, int j) { return t == 1 ? a[i + j * lda] : cj(a[i + j * lda]); };
      for (int i = 0; i < n; i++) { for (int j = 0; j < i; j++) x[i] -= e(j, i) * x[j]; x[i] /= e(i, i); }
      for (int i = n - 1; i >= 0; i--) for (int j = i + 1; j < n; j++) x[i] -= e(j, i) * x[j];
      for (int k = n - 1; k >= 0; k--) std::swap(x[k], x[piv[k] - 1]); } } }
#define FOR(L, T) \
C int cublas##L##gemmBatched(void*, int ta, int tb, int m, int n, int k, const T* al, const T** A, int lda, const T** B, int ldb, const T* be, T** c, int ldc, int count) { return batched<T>(ta, tb, m, n, k, al, A, lda, B, ldb, be, c, ldc, count); } \
C int cublas##L##geam(void*, int ta, int tb, int m, int n, const T* al, const T* A, int lda, const T* be, const T* B, int ldb, T* c, int ldc) { return geam<T>(ta, tb, m, n, al, A, lda, be, B, ldb, c, ldc); } \
C int cublas##L##getrfBatched(void*, int n, T** A, int lda, int* piv, int* info, int count) { return lu<T>(n, A, lda, piv, info, count); } \
C int cublas##L##getrsBatched(void*, int t, int n, int r, T** A, int lda, int* piv, T** B, int ldb, int* info, int count) { *info = 0; return go([=] { for (int q = 0; q < count; q++) solve<T>(A[q], lda, piv + q * n, n, t, B[q], ldb, r); }); } \
C int cublas##L##getriBatched(void*, int n, T** A, int lda, int* piv, T** c, int ldc, int* info, int count) { return go([=] { for (int q = 0; q < count; q++) { for (int j = 0; j < n; j++) for (int i = 0; i < n; i++) c[q][i + j * ldc] = T(i == j); solve<T>(A[q], lda, piv + q * n, n, 0, c[q], ldc, n); info[q] = 0; } }); }
FOR(S, float) FOR(D, double) FOR(C, F) FOR(Z, Z)
