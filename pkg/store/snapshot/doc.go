// Package snapshot keeps the followed state on disk, so that an edge starts without etcd, and knows that a store went back.
package snapshot
