// Package embedded runs an etcd as a child process of gtmd, looks after it, and is that child. A program built with the tag noembed has
// no etcd in it, and says so when it is asked for one.
package embedded
