#pragma once

struct Crew;
using Task = void (*)(const void* with, int thread);

Crew* crew_of(int threads);  // at least 1; the caller is one of them
void crew_dismiss(Crew*);
int crew_size(const Crew*);
void crew_run(Crew*, Task, const void* with);  // returns when all are done
void crew_wait(Crew*);                         // within a task: until every thread of the crew is here
