// The part of CUDA's driver and runtime that CuPy calls, on host memory.
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <cstdint>
#include <ctime>
#include <map>
#include <mutex>
#include <string>
#include <vector>
#include <functional>
#include <dlfcn.h>
#include <sys/mman.h>
#include <unistd.h>
#define C extern "C"
typedef std::function<void()> Step;
static std::mutex mutex;
static int devices = getenv("EMU_DEVICES") ? atoi(getenv("EMU_DEVICES")) : 1;
static size_t total = getenv("EMU_MEMORY") ? atoll(getenv("EMU_MEMORY")) : (size_t)8 << 30;
static size_t used = 0;
static std::map<void*, size_t> sizes;
static std::map<void*, int> homes;
static thread_local int device = 0;
struct Graph { std::vector<Step> steps; };
struct Stream { Graph* capture = nullptr; bool spoiled = false; };
static int capturing = 0;
C long emu_launches = 0, emu_down = 0, emu_up = 0, emu_sync = 0;
static thread_local int last = 0;
static int fail(int code) { last = code; return code; }
static Stream* captured(void* s) { Stream* t = (Stream*)s; return (size_t)s > 2 && t->capture ? t : nullptr; }
static int refuse(void* s) {  // what waits while a stream captures
  if (Stream* t = captured(s)) { t->spoiled = true; return fail(900); }
  return 0;
}
static std::vector<Stream*> all;
static int refuse_any() { for (Stream* t : all) if (t->capture) { t->spoiled = true; return fail(900); } return 0; }

// runtime
C int emu_GetDeviceCount(int* n) { *n = devices; return 0; }
C int emu_GetDevice(int* d) { *d = device; return 0; }
C int emu_SetDevice(int d) { if (d < 0 || d >= devices) return fail(101); device = d; return 0; }
C int emu_DriverGetVersion(int* v) { *v = 12090; return 0; }
C int emu_RuntimeGetVersion(int* v) { *v = 12090; return 0; }
C int emu_DeviceSynchronize() { emu_sync++; return refuse_any(); }
C int emu_GetLastError() { int e = last; last = 0; return e; }
C const char* emu_GetErrorName(int e) {
  switch (e) { case 2: return "cudaErrorMemoryAllocation"; case 101: return "cudaErrorInvalidDevice";
    case 900: return "cudaErrorStreamCaptureUnsupported"; case 901: return "cudaErrorStreamCaptureInvalidated";
    case 801: return "cudaErrorNotSupported"; } return "cudaErrorUnknown"; }
C const char* emu_GetErrorString(int e) {
  switch (e) { case 2: return "out of memory"; case 101: return "invalid device ordinal";
    case 900: return "operation not permitted when stream is capturing";
    case 901: return "operation failed due to a previous error during capture"; } return "emulated"; }
C int emu_DeviceGetAttribute(int* v, int a, int) {
  switch (a) { case 75: *v = 9; break; case 76: *v = 0; break; case 16: *v = 132; break; case 1: *v = 1024; break;
    case 8: *v = 49152; break; case 10: *v = 32; break; case 5: *v = 0x7fffffff; break; case 39: *v = 2048; break;
    case 2: case 3: *v = 1024; break; case 4: *v = 64; break; default: *v = 1; } return 0; }
C int emu_GetDeviceProperties(void* p, int) { memset(p, 0, 700); strcpy((char*)p, "emulated"); char* q = (char*)p; *(size_t*)(q + 288) = total; *(size_t*)(q + 296) = 49152; *(int*)(q + 304) = 65536; *(int*)(q + 308) = 32; *(int*)(q + 320) = 1024; *(int*)(q + 360) = 9; *(int*)(q + 388) = 132; return 0; }
C int emu_MemGetInfo(size_t* f, size_t* t) { *f = total - used; *t = total; return 0; }
C int emu_Malloc(void** p, size_t n) {
  std::lock_guard<std::mutex> g(mutex);
  if (used + n > total) return fail(2);
  *p = aligned_alloc(512, (n + 511) / 512 * 512 + 512);
  memset(*p, 0xFF, n); sizes[*p] = n; homes[*p] = device; used += n; return 0; }
C int emu_Free(void* p) { std::lock_guard<std::mutex> g(mutex); if (!p) return 0; used -= sizes[p]; memset(p, 0xFF, sizes[p]); sizes.erase(p); homes.erase(p); free(p); return 0; }
C int emu_HostAlloc(void** p, size_t n, unsigned) { *p = malloc(n + 1); return 0; }
C int emu_FreeHost(void* p) { free(p); return 0; }
static bool on_device(const void* p) { std::lock_guard<std::mutex> g(mutex); auto i = sizes.upper_bound((void*)p); if (i == sizes.begin()) return false; --i; return (char*)p < (char*)i->first + (i->second ? i->second : 1); }
static int home(const void* p) { std::lock_guard<std::mutex> g(mutex); auto i = sizes.upper_bound((void*)p); --i; return homes[i->first]; }
static void count(int kind) { if (kind == 2) emu_down++; if (kind == 1) emu_up++; }
C int emu_Memcpy(void* d, const void* s, size_t n, int kind) { if (int e = refuse_any()) return e; count(kind); memmove(d, s, n); return 0; }
C int emu_MemcpyAsync(void* d, const void* s, size_t n, int kind, void* st) {
  count(kind);
  if (Stream* t = captured(st)) { if (kind == 1 || kind == 2) fprintf(stderr, "EMU: async copy kind %d captured\n", kind); t->capture->steps.push_back([=] { memmove(d, s, n); }); return 0; }
  memmove(d, s, n); return 0; }
C int emu_MemcpyPeer(void* d, int, const void* s, int, size_t n) { if (int e = refuse_any()) return e; memmove(d, s, n); return 0; }
C int emu_MemcpyPeerAsync(void* d, int, const void* s, int, size_t n, void* st) { return emu_MemcpyAsync(d, s, n, 3, st); }
C int emu_Memset(void* d, int v, size_t n) { if (int e = refuse_any()) return e; memset(d, v, n); return 0; }
C int emu_MemsetAsync(void* d, int v, size_t n, void* st) {
  if (Stream* t = captured(st)) { t->capture->steps.push_back([=] { memset(d, v, n); }); return 0; }
  memset(d, v, n); return 0; }
C int emu_Memcpy2DAsync(void* d, size_t dp, const void* s, size_t sp, size_t w, size_t h, int kind, void* st) {
  count(kind);
  Step f = [=] { for (size_t i = 0; i < h; i++) memmove((char*)d + i * dp, (char*)s + i * sp, w); };
  if (Stream* t = captured(st)) t->capture->steps.push_back(f); else f(); return 0; }
struct Attributes { int type, device; void *dp, *hp; };
C int emu_PointerGetAttributes(Attributes* a, const void* p) { bool d = on_device(p); a->type = d ? 2 : 0; a->device = d ? home(p) : 0; a->dp = d ? (void*)p : nullptr; a->hp = (void*)p; return 0; }
C int emu_DeviceCanAccessPeer(int* y, int, int) { *y = 1; return 0; }
C int emu_DeviceEnablePeerAccess(int, unsigned) { return 0; }
C int emu_StreamCreateWithFlags(void** s, unsigned) { Stream* t = new Stream; all.push_back(t); *s = t; return 0; }
C int emu_StreamCreateWithPriority(void** s, unsigned f, int) { return emu_StreamCreateWithFlags(s, f); }
C int emu_StreamGetPriority(void*, int* p) { *p = 0; return 0; }
C int emu_StreamCreate(void** s) { return emu_StreamCreateWithFlags(s, 0); }
C int emu_StreamDestroy(void* s) { for (size_t i = 0; i < all.size(); i++) if (all[i] == s) { all.erase(all.begin() + i); break; } delete (Stream*)s; return 0; }
C int emu_StreamSynchronize(void* s) { emu_sync++; if ((size_t)s <= 2) return refuse_any() ? fail(906) : 0; return refuse(s); }
C int emu_StreamQuery(void* s) { return refuse(s); }
C int emu_StreamWaitEvent(void*, void*, unsigned) { return 0; }
C int emu_StreamBeginCapture(void* s, int) { ((Stream*)s)->capture = new Graph; ((Stream*)s)->spoiled = false; capturing++; return 0; }
C int emu_StreamEndCapture(void* s, void** g) { Stream* t = (Stream*)s; Graph* c = t->capture; if (!c) return fail(1); t->capture = nullptr; capturing--; *g = c; if (t->spoiled) { delete c; *g = nullptr; return fail(901); } return 0; }
C int emu_StreamIsCapturing(void* s, int* y) { Stream* t = captured(s); *y = t ? (t->spoiled ? 2 : 1) : 0; return 0; }
C int emu_GraphInstantiate(void** e, void* g, unsigned long long) { *e = new Graph(*(Graph*)g); return 0; }
C int emu_GraphLaunch(void* e, void*) { emu_launches++; for (Step& f : ((Graph*)e)->steps) f(); return 0; }
C int emu_GraphDestroy(void* g) { delete (Graph*)g; return 0; }
C int emu_GraphExecDestroy(void* g) { delete (Graph*)g; return 0; }
C int emu_EventCreateWithFlags(void** e, unsigned) { *e = calloc(1, sizeof(timespec)); return 0; }
C int emu_EventCreate(void** e) { return emu_EventCreateWithFlags(e, 0); }
C int emu_EventDestroy(void* e) { free(e); return 0; }
C int emu_EventRecord(void* e, void* s) { (void)s; clock_gettime(CLOCK_MONOTONIC, (timespec*)e); return 0; }
C int emu_EventSynchronize(void*) { emu_sync++; return refuse_any(); }
C int emu_EventQuery(void*) { return 0; }
C int emu_EventElapsedTime(float* ms, void* a, void* b) { timespec *s = (timespec*)a, *t = (timespec*)b; *ms = 1e3 * (t->tv_sec - s->tv_sec) + 1e-6 * (t->tv_nsec - s->tv_nsec); return 0; }
C int emu_other(const char* name) { fprintf(stderr, "EMU: %s is not emulated\n", name); return fail(801); }
C void emu_patch(void* at, void* to) {
  uintptr_t page = (uintptr_t)at & ~4095ul;
  mprotect((void*)page, 8192, PROT_READ | PROT_WRITE | PROT_EXEC);
  unsigned char code[12] = {0x48, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xe0};
  memcpy(code + 2, &to, 8); memcpy(at, code, 12);
}
C int emu_captured(void* s, void (*f)(void*), void* data) {  // for the libraries: noted down instead of done?
  if (Stream* t = captured(s)) { t->capture->steps.push_back([=] { f(data); }); return 1; } return 0; }

// driver
struct Kernel { void* (*bind)(void**); void (*run)(void*, const unsigned*, unsigned); std::string name; };
C int cuGetErrorName(int e, const char** s) { *s = emu_GetErrorName(e); return 0; }
C int cuGetErrorString(int e, const char** s) { *s = emu_GetErrorString(e); return 0; }
C int cuCtxGetCurrent(void** c) { *c = (void*)16; return 0; }
C int cuCtxSetCurrent(void*) { return 0; }
C int cuCtxGetDevice(int* d) { *d = device; return 0; }
C int cuDevicePrimaryCtxRelease_v2(int) { return 0; }
C int cuStreamGetCtx(void*, void** c) { *c = (void*)16; return 0; }
C int cuModuleLoadData(void** m, void* image) {
  *m = dlopen((char*)image, RTLD_NOW | RTLD_LOCAL);
  if (!*m) { fprintf(stderr, "EMU: %s\n", dlerror()); return 200; } return 0; }
C int cuModuleUnload(void*) { return 0; }
C int cuModuleGetFunction(void** f, void* m, char* name) {
  void* b = dlsym(m, (std::string(name) + "__bind").c_str()); void* r = dlsym(m, (std::string(name) + "__run").c_str());
  if (!b || !r) { fprintf(stderr, "EMU: no kernel %s\n", name); return 500; }
  *f = new Kernel{(void* (*)(void**))b, (void (*)(void*, const unsigned*, unsigned))r, name}; return 0; }
C int cuModuleGetGlobal_v2(void** p, size_t* n, void* m, char* name) { *p = dlsym(m, name); *n = 0; return *p ? 0 : 500; }
C int cuLaunchKernel(Kernel* k, unsigned a, unsigned b, unsigned c, unsigned d, unsigned e, unsigned f, unsigned shared, void* s, void** p, void**) {
  emu_launches++;
  static bool trace = getenv("EMU_TRACE"); if (trace) fprintf(stderr, "launch %s (%u %u %u) (%u %u %u) shared %u\n", k->name.c_str(), a, b, c, d, e, f, shared);
  struct Grid { unsigned n[6]; } grid{{a, b, c, d, e, f}};
  if ((size_t)d * e * f > 1024) { fprintf(stderr, "EMU: block of %u\n", d * e * f); return 1; }
  if (shared > 49152) { fprintf(stderr, "EMU: shared %u\n", shared); return 1; }
  void* args = k->bind(p);
  if (Stream* t = captured(s)) { t->capture->steps.push_back([=] { k->run(args, grid.n, shared); }); return 0; }
  std::lock_guard<std::mutex> g(mutex);
  k->run(args, grid.n, shared); return 0; }
C int cuLaunchCooperativeKernel(Kernel* k, unsigned a, unsigned b, unsigned c, unsigned d, unsigned e, unsigned f, unsigned shared, void* s, void** p) { return cuLaunchKernel(k, a, b, c, d, e, f, shared, s, p, nullptr); }
C int cuFuncGetAttribute(int* v, int a, void*) { *v = a == 0 ? 1024 : 0; return 0; }
C int cuFuncSetAttribute(void*, int, int) { return 0; }
C int cuOccupancyMaxActiveBlocksPerMultiprocessor(int* n, void*, int, size_t) { *n = 2; return 0; }
C int cuOccupancyMaxPotentialBlockSize(int* g, int* b, void*, void*, size_t, int) { *g = 132; *b = 256; return 0; }
