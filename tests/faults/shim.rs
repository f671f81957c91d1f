//! A library that is loaded before the program (`LD_PRELOAD`) and changes what the system says: the wall clock, and how much
//! a write takes. Compiled by the test.

use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Reads how far the clock is ahead, in microseconds, from a file that the test changes. Of the writes to files every
/// `FAULTS_SHORT`th takes only half, and every `FAULTS_EINTR`th is interrupted by a signal.
const SOURCE: &str = r#"
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

static volatile long long *ahead;
static long every_short, every_eintr;
static atomic_long writes;

__attribute__((constructor)) static void begin(void) {
    const char *path = getenv("FAULTS_CLOCK"), *shorts = getenv("FAULTS_SHORT"), *eintr = getenv("FAULTS_EINTR");
    int file = path ? open(path, O_RDONLY) : -1;
    void *mapped = file >= 0 ? mmap(0, 8, PROT_READ, MAP_SHARED, file, 0) : MAP_FAILED;
    ahead = mapped == MAP_FAILED ? 0 : mapped;
    every_short = shorts ? atol(shorts) : 0;
    every_eintr = eintr ? atol(eintr) : 0;
}

int clock_gettime(clockid_t id, struct timespec *time) {
    int result = syscall(SYS_clock_gettime, id, time);
    if (result == 0 && id == CLOCK_REALTIME && ahead) {
        long long micros = time->tv_sec * 1000000LL + time->tv_nsec / 1000 + *ahead;
        if (micros < 0) micros = 0;
        time->tv_sec = micros / 1000000;
        time->tv_nsec = micros % 1000000 * 1000;
    }
    return result;
}

static int is_interrupted(int file, size_t *length) {
    struct stat facts;
    if ((!every_short && !every_eintr) || fstat(file, &facts) != 0 || !S_ISREG(facts.st_mode)) return 0;
    long number = ++writes;
    if (every_eintr && number % every_eintr == 0) {
        errno = EINTR;
        return 1;
    }
    if (every_short && number % every_short == 0 && *length > 1) *length /= 2;
    return 0;
}

ssize_t write(int file, const void *bytes, size_t length) {
    return is_interrupted(file, &length) ? -1 : syscall(SYS_write, file, bytes, length);
}

ssize_t pwrite64(int file, const void *bytes, size_t length, off_t at) {
    return is_interrupted(file, &length) ? -1 : syscall(SYS_pwrite64, file, bytes, length, at);
}
"#;

/// The compiled library.
pub(super) struct Shim {
    library: PathBuf,
    clock: File,
    clock_path: PathBuf,
}

impl Shim {
    /// `None`, with a word on stderr, where there is no C compiler.
    pub(super) fn build(folder: &Path) -> Option<Self> {
        let (source, library, clock_path) =
            (folder.join("shim.c"), folder.join("shim.so"), folder.join("clock"));
        fs::write(&source, SOURCE).unwrap();
        let built =
            Command::new("cc").args(["-shared", "-fPIC", "-O1", "-o"]).arg(&library).arg(&source).status();
        if built.is_err() {
            eprintln!("skipped: there is no C compiler (cc)");
            return None;
        }
        assert!(built.unwrap().success());
        fs::write(&clock_path, [0; 8]).unwrap();
        let clock = File::options().write(true).open(&clock_path).unwrap();
        Some(Self { library, clock, clock_path })
    }

    /// What a program needs in its environment to have its clock from here, with `more`.
    pub(super) fn environment<'a>(&'a self, more: &[(&'a str, &'a str)]) -> Vec<(&'a str, &'a str)> {
        let own = [
            ("LD_PRELOAD", self.library.to_str().unwrap()),
            ("FAULTS_CLOCK", self.clock_path.to_str().unwrap()),
        ];
        [&own, more].concat()
    }

    /// Sets how far the clock of the program is ahead.
    pub(super) fn set_clock(&self, ahead_us: i64) {
        self.clock.write_all_at(&ahead_us.to_ne_bytes(), 0).unwrap();
    }
}
