// Package stamp tells whether a file was replaced or written since it was last looked at.
package stamp

import (
	"os"
	"time"
)

// Stamp is what changes when a file is replaced or written. Two of one file compare.
type Stamp struct {
	modified time.Time
	size     int64
	inode    uint64 // where the system has one
	gone     bool
}

// Of gives the present stamp of a file, which need not exist.
func Of(file string) Stamp {
	info, err := os.Stat(file)
	if err != nil {
		return Stamp{gone: true}
	}
	return Stamp{modified: info.ModTime(), size: info.Size(), inode: inodeOf(info.Sys())}
}
