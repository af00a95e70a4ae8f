/* A driver and a management library of NVIDIA's with one GPU, as far as convbench asks them: libcuda.so.1 and
   libnvidia-ml.so.1 in one. What the environment names in FAKE_NVIDIA_REFUSES is not supported; FAKE_NVIDIA_SLOWED are
   the bits for what holds the clock back. The energy counter moves every 20 ms, at 100 W. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define BUS_ID "0000:65:00.0"
enum { OK = 0, NOT_SUPPORTED = 3, NOT_FOUND = 6 };

static int refuses(const char *name) {
    const char *all = getenv("FAKE_NVIDIA_REFUSES");
    return all != NULL && strstr(all, name) != NULL;
}

int cuInit(unsigned flags) { return refuses("cuInit") ? 100 : OK; }
int cuDeviceGetCount(int *count) {
    const char *text = getenv("FAKE_NVIDIA_COUNT");
    *count = text ? atoi(text) : 1;
    return OK;
}
int cuDeviceGet(int *device, int ordinal) { *device = ordinal; return OK; }
int cuDeviceGetPCIBusId(char *text, int size, int device) { snprintf(text, size, BUS_ID); return OK; }

int nvmlInitWithFlags(unsigned flags) { return refuses("nvmlInit") ? 999 : OK; }

int nvmlDeviceGetHandleByPciBusId_v2(const char *bus_id, void **handle) {
    *handle = (void *)1;
    return strcmp(bus_id, BUS_ID) == 0 ? OK : NOT_FOUND;
}

int nvmlDeviceGetName(void *handle, char *name, unsigned size) { snprintf(name, size, "NVIDIA Fake 100"); return OK; }
int nvmlSystemGetDriverVersion(char *version, unsigned size) { snprintf(version, size, "999.10"); return OK; }

int nvmlDeviceGetMemoryInfo(void *handle, unsigned long long *total_free_used) {
    total_free_used[0] = 16ULL << 30, total_free_used[1] = 15ULL << 30, total_free_used[2] = 1ULL << 30;
    return OK;
}

int nvmlDeviceGetMaxClockInfo(void *handle, int which, unsigned *mhz) { *mhz = which == 1 ? 1980 : 7; return OK; }

int nvmlDeviceGetClockInfo(void *handle, int which, unsigned *mhz) {
    *mhz = which == 1 ? 1410 : 7;
    return refuses("nvmlDeviceGetClockInfo") ? NOT_SUPPORTED : OK;
}

int nvmlDeviceGetPowerManagementLimit(void *handle, unsigned *milliwatts) { *milliwatts = 350500; return OK; }

int nvmlDeviceGetCurrentClocksThrottleReasons(void *handle, unsigned long long *bits) {
    const char *given = getenv("FAKE_NVIDIA_SLOWED");
    *bits = given ? strtoull(given, NULL, 0) : 0;
    return OK;
}

int nvmlDeviceGetTotalEnergyConsumption(void *handle, unsigned long long *millijoules) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    unsigned long long steps = (now.tv_sec * 1000ULL + now.tv_nsec / 1000000) / 20;
    *millijoules = steps * 2000;
    return refuses("nvmlDeviceGetTotalEnergyConsumption") ? NOT_SUPPORTED : OK;
}
