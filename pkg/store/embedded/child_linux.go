package embedded

import "syscall"

// childAttr puts the child into a process group of its own, so that Ctrl-C reaches the parent alone, and
// lets the kernel end it with its parent.
func childAttr() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
}
