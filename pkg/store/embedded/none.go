//go:build noembed

package embedded

import "context"

// Built reports whether this program has an etcd in it.
const Built = false

// Run fails: there is no etcd to run.
func Run(context.Context, string) error { return errNotBuilt }
