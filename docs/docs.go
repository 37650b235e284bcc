// Package docs holds pages of the documentation for programs that tell of them.
package docs

import _ "embed"

// Resources is the reference of resources, in Markdown.
//
//go:embed resources.md
var Resources string
