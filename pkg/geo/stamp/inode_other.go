//go:build !unix

package stamp

func inodeOf(any) uint64 { return 0 }
