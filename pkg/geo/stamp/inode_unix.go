//go:build unix

package stamp

import "syscall"

func inodeOf(sys any) uint64 {
	if st, ok := sys.(*syscall.Stat_t); ok {
		return st.Ino
	}
	return 0
}
