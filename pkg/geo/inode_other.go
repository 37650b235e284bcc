//go:build !unix

package geo

func inodeOf(any) uint64 { return 0 }
