// In the place of NVIDIA's driver where there is none: the functions of libnvidia-ml that are asked, with the GPUs that
// $NVML_GPUS names, each as NAME,MAJOR,MINOR,TOTAL,FREE with a semicolon between; MiB. "broken": it does not start.
#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>
#include <vector>

struct Gpu { std::string name; int major, minor; unsigned long long total, free; };
struct Room { unsigned long long total, free, used; };
static std::vector<Gpu> gpus;

static int copy(const std::string& text, char* into, unsigned length) {
    std::snprintf(into, length, "%s", text.c_str());
    return 0;
}

extern "C" {
int nvmlInitWithFlags(unsigned) {
    std::string told = std::getenv("NVML_GPUS") ? std::getenv("NVML_GPUS") : "";
    if (told == "broken") return 9;  // NVML_ERROR_DRIVER_NOT_LOADED
    gpus.clear();
    for (size_t at = 0; at < told.size();) {
        size_t end = std::min(told.find(';', at), told.size());
        char name[96];
        Gpu gpu;
        std::sscanf(told.substr(at, end - at).c_str(), "%95[^,],%d,%d,%llu,%llu", name, &gpu.major, &gpu.minor, &gpu.total, &gpu.free);
        gpu.name = name;
        gpus.push_back(gpu);
        at = end + 1;
    }
    return 0;
}
int nvmlInit_v2() { return nvmlInitWithFlags(0); }
int nvmlShutdown() { return 0; }
const char* nvmlErrorString(int code) { return code == 9 ? "Driver Not Loaded" : "Unknown Error"; }
int nvmlSystemGetDriverVersion(char* into, unsigned length) { return copy("580.95.05", into, length); }
int nvmlDeviceGetCount_v2(unsigned* count) { *count = gpus.size(); return 0; }
int nvmlDeviceGetHandleByIndex_v2(unsigned index, void** device) { *device = &gpus[index]; return 0; }
int nvmlDeviceGetName(void* device, char* into, unsigned length) { return copy(((Gpu*)device)->name, into, length); }
int nvmlDeviceGetCudaComputeCapability(void* device, int* major, int* minor) {
    *major = ((Gpu*)device)->major;
    *minor = ((Gpu*)device)->minor;
    return 0;
}
int nvmlDeviceGetMemoryInfo(void* device, Room* room) {
    Gpu* gpu = (Gpu*)device;
    *room = {gpu->total << 20, gpu->free << 20, (gpu->total - gpu->free) << 20};
    return 0;
}
}
