// Package gtmtest holds what the tests of several packages set up: ports, logs, waiting, chance, and captures of replies. What needs gtm's
// own packages stands in rooms of its own: declared reads YAML, views compiles it, etcds runs an etcd. docs/contributing.md shows their
// use.
package gtmtest
