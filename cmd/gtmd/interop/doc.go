// Package interop holds tests of the real gtmd against real clients and peers: dig, kdig, unbound, gdnsd's
// geography and distances, a cluster of etcd. They need the build tag interop and what `make interop` installs.
package interop
