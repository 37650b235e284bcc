//go:build !linux

package embedded

import "syscall"

// childAttr puts the child into a process group of its own. That it ends with its parent is up to the
// closing of its standard input.
func childAttr() *syscall.SysProcAttr { return &syscall.SysProcAttr{Setpgid: true} }
