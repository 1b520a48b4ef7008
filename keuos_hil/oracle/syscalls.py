"""What each system call may answer: the table of docs/syscall-abi.md, "What each call answers", for the tests.

Pure: no target is touched here. tests/test_syscall_table.py compares the two.
"""

from __future__ import annotations

#: By call (an enum keuos_syscall without prefix): "ok" and the enum keuos_error that it may answer, without prefix.
#: A call that may also end its caller is in :data:`ENDS`.
DOCUMENTED: dict[str, frozenset[str]] = {
    call: frozenset(results.split())
    for call, results in {
        "null": "ok",
        "yield": "ok",
        "exit": "",
        "log": "ok efault einval eagain",
        "time": "ok",
        "wait": "ok",
        "notify": "ok ebadcap einval eagain eclosed",
        "notify_and_wait": "ok ebadcap einval eagain eclosed",
        "doorbell": "ok ebadcap eclosed",
        "spawn": "ok efault einval enoent enoexec enomem equota",
        "process_start": "ok ebadcap eperm estate",
        "process_kill": "ok ebadcap eperm",
        "process_info": "ok ebadcap eperm efault",
        "process_read": "ok ebadcap eperm efault einval",
        "process_write": "ok ebadcap eperm efault einval",
        "channel_bind": "ok ebadcap eperm efault einval enomem equota estate eentropy",
        "channel_accept": "ok efault eagain",
        "channel_close": "ok ebadcap",
        "channel_unmap": "ok ebadcap",
        "channel_info": "ok ebadcap efault",
        "cap_grant": "ok ebadcap eperm einval equota estate",
        "cap_revoke": "ok ebadcap",
        "cap_drop": "ok ebadcap",
        "memory_create": "ok einval enomem equota",
        "memory_map": "ok ebadcap eperm enomem estate",
        "memory_unmap": "ok ebadcap eperm",
        "getrandom": "ok efault einval eentropy",
        "system_info": "ok efault",
        "console_read": "ok ebadcap efault",
        "console_write": "ok ebadcap efault einval eagain",
        "event_read": "ok ebadcap efault",
        "process_list": "ok ebadcap efault",
        "channel_list": "ok ebadcap efault",
        "initrd_list": "ok ebadcap efault enoent",
        "reboot": "ebadcap einval",
        "hil": "ebadcap efault einval eclosed enosys",
        "device_list": "ok ebadcap efault",
        "device_info": "ok ebadcap eperm efault",
        "device_config": "ok ebadcap eperm einval eagain",
        "device_control": "ok ebadcap eperm einval eagain equota estate enosys",
        "device_map": "ok ebadcap eperm einval eagain enomem estate",
        "dma_map": "ok ebadcap eperm einval eagain equota estate",
        "dma_unmap": "ok ebadcap eperm enoent eagain estate",
        "device_wait": "ok ebadcap eperm eagain estate",
    }.items()
}

#: What ends the caller: the enum keuos_exit_reason without prefix. "past the table" stands for any other number.
ENDS = {
    "exit": "code",
    "process_kill": "killed",
    "notify": "gate",
    "notify_and_wait": "gate",
    "past the table": "bad_syscall",
}

#: Calls that want a device: without a driver's capability they answer EBADCAP, and that is what random calls see.
DRIVERS = ("device_info", "device_config", "device_control", "device_map", "dma_map", "dma_unmap", "device_wait")

#: Pairs that random calls can't reach, and the test that does.
ELSEWHERE: dict[tuple[str, str], str] = {
    **{(call, answer): "a driver's tests" for call in DRIVERS for answer in DOCUMENTED[call] - {"ebadcap"}},
    ("spawn", "enoexec"): "tests/test_damaged_elfs.py",
    ("spawn", "enomem"): "suites/gates/test_syscalls.py, when the machine's memory runs out",
    ("memory_create", "enomem"): "suites/gates/test_syscalls.py, when the machine's memory runs out",
    ("channel_bind", "eentropy"): "tests/test_without_randomness.py",
    ("getrandom", "eentropy"): "tests/test_without_randomness.py",
    **{("hil", answer): "the suites that use a HIL build" for answer in DOCUMENTED["hil"] - {"enosys"}},
}
