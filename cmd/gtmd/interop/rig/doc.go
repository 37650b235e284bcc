// Package rig is a whole gtm over real processes, for tests: etcd members, control, edges and probers, each in a network namespace of
// its own on one bridge, and endpoints that can be told to fail. Nodes are killed, stopped, cut off and started again at will. All of
// it lives in namespaces of the test's process, so that nothing stays when that ends, however it ends. It needs Linux, root and
// the build tag interop.
package rig
