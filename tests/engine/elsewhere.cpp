// One call of the kernels in a process of another processor (elsewhere.py): memory comes from a file, pointers are set to
// where it lies here, and what the call left is written back.
//
// The file, in int64: the call; then, each behind its length, arguments, regions and pointers. An argument is a region and
// a place in it, a region a size, a pointer where it is, where it points to and what it was. Behind them are the bytes of
// all regions.
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <vector>

struct Crew;
extern "C" {
Crew* vivavoce_crew(int);
void vivavoce_pack(int, Crew*, const void*);
int vivavoce_step(int, Crew*, const void*, const void*, const void*, const void*);
int vivavoce_speak(int, Crew*, const void*, const void*, const void*, const void*);
int vivavoce_encode(int, Crew*, const void*, const void*, const void*, const void*);
int vivavoce_decode(int, Crew*, const void*, const void*, const void*, const void*);
}

int main(int, char** arguments) {
    FILE* file = fopen(arguments[1], "r+b");
    const auto number = [&] {
        int64_t value;
        return fread(&value, 8, 1, file) == 1 ? value : -1;
    };
    const auto numbers = [&] {
        std::vector<int64_t> all(number());
        for (auto& one : all) one = number();
        return all;
    };
    const int64_t call = number();
    const auto given = numbers(), sizes = numbers(), pointers = numbers();
    std::vector<std::vector<int64_t>> memory;  // of int64, so that it is aligned
    const long begin = ftell(file);
    for (const int64_t size : sizes) {
        memory.emplace_back((size + 7) / 8);
        if (fread(memory.back().data(), 1, size, file) != (size_t)size) return 100;
    }
    const auto at = [&](int64_t region, int64_t place) { return (char*)memory[region].data() + place; };
    // What looks like a pointer may be old contents of memory that the call fills.
    const auto exchange = [&](bool back) {
        for (size_t i = 0; i < pointers.size(); i += 5) {
            char* const word = at(pointers[i], pointers[i + 1]);
            const int64_t here = (int64_t)at(pointers[i + 2], pointers[i + 3]), there = pointers[i + 4];
            if (!back || memcmp(word, &here, 8) == 0) memcpy(word, back ? &there : &here, 8);
        }
    };
    exchange(false);
    const auto argument = [&](int i) { return at(given[2 * i], given[2 * i + 1]); };
    Crew* crew = vivavoce_crew(1);
    int (*const calls[])(int, Crew*, const void*, const void*, const void*, const void*) = {vivavoce_step, vivavoce_speak,
                                                                                          vivavoce_encode, vivavoce_decode};
    int result = 0;
    if (call < 4)
        result = calls[call](0, crew, argument(0), argument(1), argument(2), argument(3));
    else
        vivavoce_pack(0, crew, argument(0));
    exchange(true);
    fseek(file, begin, SEEK_SET);
    for (size_t i = 0; i < sizes.size(); i++) fwrite(memory[i].data(), 1, sizes[i], file);
    fclose(file);
    return result;
}
