import os

# With busy neighbours the threads of OpenMP spin: a fit of a tenth of a second then takes several.
os.environ.setdefault("OMP_NUM_THREADS", "1")
