package spec

import (
	"strconv"
	"strings"
)

// node is one value of an input, be it YAML or JSON, with its line. The strict decoder walks nodes, so
// that both formats have the same rules and the same messages.
type node struct {
	shape shape
	line  int
	text  string  // of a scalar, as written (unquoted)
	block bool    // the text stands below its line, line by line (|)
	keys  []entry // of a mapping, in the order of the input
	items []*node // of a list
}

// entry is one key of a mapping.
type entry struct {
	key   string
	line  int
	value *node
}

// shape is the type of a node.
type shape uint8

const (
	shapeNull shape = iota
	shapeString
	shapeInt
	shapeFloat
	shapeBool
	shapeTime // an unquoted YAML timestamp; its text is as good as a string
	shapeList
	shapeMap
)

// String names the type in messages.
func (s shape) String() string {
	return [...]string{"nothing", "a text", "a number", "a number", "true or false", "a text", "a list", "a mapping"}[s]
}

// describe names the value as a message about a wrong type needs it.
func (n *node) describe() string {
	switch n.shape {
	case shapeNull:
		return "nothing"
	case shapeString, shapeTime:
		return "the text " + strconv.Quote(shorten(n.text))
	case shapeInt, shapeFloat:
		return "the number " + shorten(n.text)
	case shapeBool:
		return shorten(n.text)
	case shapeList:
		return "a list"
	default:
		return "a mapping"
	}
}

// shorten keeps a message readable whatever the input holds.
func shorten(s string) string { return cut(s, 60) }

// cut gives at most so many bytes of a text, and tells that there was more.
func cut(s string, most int) string {
	if len(s) <= most {
		return s
	}
	for most > 0 && s[most]&0xC0 == 0x80 { // not within a rune
		most--
	}
	return strings.Clone(s[:most]) + "..." // which does not keep the rest
}

// Limits of one input. They are far above what people write and stop what attackers write.
const (
	maxInput = 256 << 20 // bytes: a zone of a million names is 50 to 100 MB of text
	maxDepth = 32        // nested lists and mappings
	maxNodes = 4 << 20
	// A JSON input may have fewer values where it is short: what one costs is many times what "0," does. In lawful resources one stands
	// for 9 bytes or more.
	leastNodes, bytesPerNode = 1 << 16, 8
	maxParts, largePart      = 1 << 16, 64 // of a list whose parts have more bytes than that: no list of such may have as many
	maxKeyText               = 1024        // bytes of a tenant, a kind or a name: a zone's may have 1,000, written with \DDD
	maxRefBytes              = 4 << 20     // what references (*name) may add, in bytes of text and nodes
)
