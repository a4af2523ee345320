#pragma once
#include "model.h"

Crew* crew_of(int threads);  // at least 1; the caller is one of them
void crew_dismiss(Crew*);
int crew_size(const Crew*);
void crew_run(Crew*, StepFunction, const Step&);  // returns when all are done
