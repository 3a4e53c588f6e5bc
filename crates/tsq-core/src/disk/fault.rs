//! What happens when the bytes behind a memory map are gone: a handler for SIGBUS.
//!
//! Reading a map past the end of its file, or where the device fails, ends a process by default. The handler puts zeros
//! where the bytes were and notes the place; whoever reads the map finds its end mark gone (see [`super::Map::is_whole`])
//! before a value leaves. A fault elsewhere goes to the handler that was there before.
//!
//! The handler may interrupt anything: it takes no lock, allocates nothing, and touches only what lives as long as the
//! process. Maps are found in a list of slots that only grows; each slot has a version, odd while it changes.

use std::ffi::{c_int, c_void};
use std::io;
use std::mem::MaybeUninit;
use std::ptr;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicPtr, AtomicUsize, Ordering};

use parking_lot::Mutex;

const NODE_SLOTS: usize = 64;

/// A place for one map.
#[derive(Debug)]
struct Slot {
    version: AtomicUsize,
    /// First address; 0 while no map has the slot.
    start: AtomicUsize,
    /// The address behind the last whole page.
    end: AtomicUsize,
    /// Offset of the first byte that was found gone, plus one.
    fault: AtomicUsize,
}

#[derive(Debug)]
struct Node {
    slots: [Slot; NODE_SLOTS],
    next: AtomicPtr<Node>,
}

impl Node {
    const fn new() -> Self {
        Self { slots: [const { Slot::new() }; NODE_SLOTS], next: AtomicPtr::new(ptr::null_mut()) }
    }

    /// The node behind; none at the end of the list.
    fn next(&self) -> Option<&'static Self> {
        let next = self.next.load(Ordering::Acquire);
        // SAFETY: the pointer is null or came from `Box::leak`, before it was stored; nodes are never freed.
        unsafe { next.as_ref() }
    }
}

/// All maps of the process. Grows to the most that ever were open at once.
static FIRST: Node = Node::new();
/// Held by whoever gives a slot to a map or takes it back.
static CHANGING: Mutex<()> = Mutex::new(());
/// What was done about SIGBUS before, and the size of a page.
static INSTALLED: OnceLock<(libc::sigaction, usize)> = OnceLock::new();

fn slots() -> impl Iterator<Item = &'static Slot> {
    let mut node = Some(&FIRST);
    std::iter::from_fn(move || {
        let found = node?;
        node = found.next();
        Some(found.slots.iter())
    })
    .flatten()
}

/// A mapped range of addresses. Must be dropped before it is unmapped.
#[derive(Debug)]
pub(super) struct Region(&'static Slot);

impl Region {
    /// Tells the handler about a map that begins at `start`, at a page boundary.
    pub(super) fn new(start: usize, len: usize) -> Self {
        let _guard = CHANGING.lock();
        let free = slots().find(|slot| slot.start.load(Ordering::Relaxed) == 0);
        let slot = free.unwrap_or_else(|| {
            let node: &'static Node = Box::leak(Box::new(Node::new()));
            let mut last = &FIRST;
            while let Some(next) = last.next() {
                last = next;
            }
            last.next.store(ptr::from_ref(node).cast_mut(), Ordering::Release);
            &node.slots[0]
        });
        slot.change(start, start + len);
        Self(slot)
    }

    /// Offset of a byte that was found gone.
    pub(super) fn fault(&self) -> Option<u64> {
        self.0.fault.load(Ordering::SeqCst).checked_sub(1).map(|offset| offset as u64)
    }
}

impl Drop for Region {
    fn drop(&mut self) {
        let _guard = CHANGING.lock();
        self.0.change(0, 0);
    }
}

impl Slot {
    const fn new() -> Self {
        Self {
            version: AtomicUsize::new(0),
            start: AtomicUsize::new(0),
            end: AtomicUsize::new(0),
            fault: AtomicUsize::new(0),
        }
    }

    /// Under the lock.
    fn change(&self, start: usize, end: usize) {
        self.version.fetch_add(1, Ordering::SeqCst);
        self.fault.store(0, Ordering::SeqCst);
        self.end.store(end, Ordering::SeqCst);
        self.start.store(start, Ordering::SeqCst);
        self.version.fetch_add(1, Ordering::SeqCst);
    }

    /// Start and end, if `address` lies between. A slot that changes belongs to a map that the caller does not read.
    fn bounds_around(&self, address: usize) -> Option<(usize, usize)> {
        let version = self.version.load(Ordering::SeqCst);
        let bounds = (self.start.load(Ordering::SeqCst), self.end.load(Ordering::SeqCst));
        let is_steady = version.is_multiple_of(2) && self.version.load(Ordering::SeqCst) == version;
        (is_steady && (bounds.0..bounds.1).contains(&address)).then_some(bounds)
    }
}

/// Makes reads of a block file that was cut short while it is mapped fail with
/// [`ErrorKind::Corrupt`](crate::ErrorKind::Corrupt), where they would end the process by SIGBUS otherwise. The same
/// goes for a device that cannot read what is mapped.
///
/// Installs a handler for SIGBUS, for the whole process and as long as it lives; signals that are not about maps of
/// blocks go on to the handler that was installed before. The `tsq` binary calls this; a program that embeds the engine
/// decides for itself, and may choose [`ReadMode::Pread`](crate::ReadMode::Pread) instead. Calling it again does
/// nothing.
///
/// # Errors
/// When the operating system refuses.
pub fn survive_lost_maps() -> io::Result<()> {
    static ONCE: Mutex<()> = Mutex::new(());
    let _guard = ONCE.lock();
    if INSTALLED.get().is_some() {
        return Ok(());
    }
    let mut before = MaybeUninit::<libc::sigaction>::zeroed();
    // SAFETY: a null action asks for the current one, which is written to `before`; `sysconf` has no conditions.
    let (asked, page) =
        unsafe { (libc::sigaction(libc::SIGBUS, ptr::null(), before.as_mut_ptr()), libc::sysconf(libc::_SC_PAGESIZE)) };
    let page = usize::try_from(page).map_err(|_| io::Error::last_os_error())?;
    if asked != 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: zeroed, then written by the call that succeeded.
    INSTALLED.get_or_init(|| (unsafe { before.assume_init() }, page));
    // SAFETY: all zeros is a valid value of this plain structure.
    let mut action = unsafe { MaybeUninit::<libc::sigaction>::zeroed().assume_init() };
    let handler: unsafe extern "C" fn(c_int, *mut libc::siginfo_t, *mut c_void) = on_bus_error;
    action.sa_sigaction = handler as usize;
    action.sa_flags = libc::SA_SIGINFO | libc::SA_ONSTACK;
    // SAFETY: `action` is complete, its handler has the signature that SA_SIGINFO asks for and keeps the rules of
    // handlers (see the head of this file).
    match unsafe { libc::sigaction(libc::SIGBUS, &raw const action, ptr::null_mut()) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

/// # Safety
/// Only the operating system calls it, for a signal, with what SA_SIGINFO promises.
unsafe extern "C" fn on_bus_error(signal: c_int, info: *mut libc::siginfo_t, context: *mut c_void) {
    // SAFETY: errno is the thread's own; `info` is valid while the handler runs.
    let (errno, sent_by_kernel) = unsafe { (*libc::__errno_location(), (*info).si_code > 0) };
    // SAFETY: a SIGBUS that the kernel sends has an address.
    let is_ours = sent_by_kernel && replace(unsafe { (*info).si_addr() } as usize);
    if !is_ours {
        // SAFETY: as this function's.
        unsafe { pass_on(signal, info, context) };
    }
    // SAFETY: errno is the thread's own.
    unsafe { *libc::__errno_location() = errno };
}

/// Puts zeros in place of a map from the page of `address` to its end, if it is one of ours.
fn replace(address: usize) -> bool {
    let Some((_, page)) = INSTALLED.get() else { return false };
    let mut slots = slots();
    let Some((slot, (start, end))) = slots.find_map(|slot| slot.bounds_around(address).map(|found| (slot, found)))
    else {
        return false;
    };
    let _ = slot.fault.compare_exchange(0, address - start + 1, Ordering::SeqCst, Ordering::SeqCst);
    let from = address - address % page;
    // SAFETY: the range lies in a map of ours, which lives as long as the thread that reads it, the one that is
    // interrupted. Maps of blocks are only read, and their readers look for the end mark before they believe what they
    // read. `mmap` is a plain system call.
    let zeros = unsafe {
        libc::mmap(
            from as *mut c_void,
            end - from,
            libc::PROT_READ,
            libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_FIXED,
            -1,
            0,
        )
    };
    zeros != libc::MAP_FAILED
}

/// Does what was done before about the signal.
///
/// # Safety
/// As [`on_bus_error`].
unsafe fn pass_on(signal: c_int, info: *mut libc::siginfo_t, context: *mut c_void) {
    let Some((before, _)) = INSTALLED.get() else { return };
    match before.sa_sigaction {
        libc::SIG_DFL | libc::SIG_IGN => {
            // The kernel ignores no fault. With the old action back, the faulting instruction faults again; a signal that
            // another process sent is sent again.
            // SAFETY: `before` is what the kernel gave; both calls may be made in handlers.
            unsafe {
                libc::sigaction(signal, before, ptr::null_mut());
                if (*info).si_code <= 0 && before.sa_sigaction == libc::SIG_DFL {
                    libc::raise(signal);
                }
            }
        }
        handler if before.sa_flags & libc::SA_SIGINFO != 0 => {
            // SAFETY: with this flag the field holds a function with this signature.
            let handler: unsafe extern "C" fn(c_int, *mut libc::siginfo_t, *mut c_void) =
                unsafe { std::mem::transmute(handler) };
            // SAFETY: it gets what the kernel gave.
            unsafe { handler(signal, info, context) };
        }
        handler => {
            // SAFETY: without the flag the field holds a function with this signature.
            let handler: unsafe extern "C" fn(c_int) = unsafe { std::mem::transmute(handler) };
            // SAFETY: it gets what the kernel gave.
            unsafe { handler(signal) };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slots_are_found_given_back_and_taken_again() {
        // Far from every address of this process.
        let base = usize::MAX / 2 + 1;
        let find = |address: usize| slots().filter_map(|slot| slot.bounds_around(address)).count();
        let regions: Vec<Region> = (0..3 * NODE_SLOTS).map(|number| Region::new(base + number * 4096, 4096)).collect();
        for number in 0..regions.len() {
            assert_eq!(find(base + number * 4096 + 17), 1);
        }
        assert_eq!(find(base + regions.len() * 4096), 0, "a map does not hold the address behind it");
        let nodes = || std::iter::successors(Some(&FIRST), |node| node.next()).count();
        let before = nodes();
        drop(regions);
        assert_eq!(find(base + 17), 0);
        let again: Vec<Region> = (0..NODE_SLOTS).map(|number| Region::new(base + number * 4096, 4096)).collect();
        assert_eq!((nodes(), again[0].fault()), (before, None));
    }
}
