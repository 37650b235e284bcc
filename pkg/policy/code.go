package policy

import (
	"encoding/binary"
	"iter"
	"math"

	"github.com/gti/gtm/pkg/geo"
)

// A row is written down as it is found, in a code that is the same for equal rows, so that most places cost no more than that: their row is
// known by its code. It is
//
//	row   = region uvarint(1 + TTL, or 0) list list of the rules, and of lastResort
//	region = 1 + index in geo.Continents, or 0      one byte
//	list  = step* 0
//	step  = 1 (uvarint(weight) list)* 0             a split
//	      | 2 list                                  the first of its steps that answers
//	      | 3 band (uvarint(weight) pool bias)* 0   the nearest of some pools
//	      | pool
//	pool  = 4 + its index
//	bias  = share kilometres
//
// with every number a uvarint; band, share and kilometres have eight bytes.
const (
	codeEnd = iota
	codeSplit
	codeFirst
	codeNearest
	codePool
)

// Node is a choice among arms, or a pool.
type Node struct {
	Kind Kind
	Pool int // of Policy.Pools, of a Leaf
	Arms []Arm
	Band float64 // of a Nearest: the share by which those count as about as near that are farther
}

// Kind is how a Node chooses.
type Kind uint8

// The kinds of a Node.
const (
	Leaf    Kind = iota
	First        // the first arm that gives an answer
	Split        // by the weights of the arms that do
	Nearest      // by the weights of those among the nearest arms, all leaves, that do; as First for who is nowhere
)

// Arm is a node below another.
type Arm struct {
	Node   Node
	Weight int // 1 to 65,535, of a Split and a Nearest
	Bias   Bias
}

// Group gives the pools of a step that shares answers among pools alone, by weight; nil: it is another.
func (n *Node) Group() []Arm {
	if n.Kind != Split {
		return nil
	}
	for i := range n.Arms {
		if n.Arms[i].Node.Kind != Leaf {
			return nil
		}
	}
	return n.Arms
}

// Pools gives the pools below the node, of Policy.Pools. One may come twice.
func (n *Node) Pools() iter.Seq[int] {
	return func(yield func(int) bool) { n.eachPool(yield) }
}

func (n *Node) eachPool(yield func(int) bool) bool {
	if n.Kind == Leaf {
		return yield(n.Pool)
	}
	for i := range n.Arms {
		if !n.Arms[i].Node.eachPool(yield) {
			return false
		}
	}
	return true
}

// readStep reads a step. What follows it is left.
func readStep(b []byte) (n Node, left []byte) {
	what, b := number(b)
	switch what {
	case codeSplit:
		n.Kind = Split
		for {
			var weight uint64
			if weight, b = number(b); weight == codeEnd {
				return n, b
			}
			var list []Node
			list, b = readList(b)
			n.Arms = append(n.Arms, Arm{Node: whole(list), Weight: int(weight)})
		}
	case codeNearest:
		n.Kind = Nearest
		for n.Band, b = float(b); b[0] != codeEnd; {
			var a Arm
			var weight uint64
			weight, b = number(b)
			a.Weight = int(weight)
			a.Node, b = readStep(b)
			a.Bias.Share, b = float(b)
			a.Bias.Kilometres, b = float(b)
			n.Arms = append(n.Arms, a)
		}
		return n, b[1:]
	case codeFirst:
		list, left := readList(b)
		return whole(list), left
	}
	return Node{Pool: int(what) - codePool}, b
}

func readList(b []byte) (list []Node, left []byte) {
	for b[0] != codeEnd {
		var n Node
		n, b = readStep(b)
		list = append(list, n)
	}
	return list, b[1:]
}

// whole makes one node of steps.
func whole(steps []Node) Node {
	if len(steps) == 1 {
		return steps[0]
	}
	n := Node{Kind: First, Arms: make([]Arm, len(steps))}
	for i := range steps {
		n.Arms[i] = Arm{Node: steps[i], Weight: 1}
	}
	return n
}

func number(b []byte) (uint64, []byte) {
	if b[0] < 0x80 {
		return uint64(b[0]), b[1:]
	}
	v, n := binary.Uvarint(b)
	return v, b[n:]
}

const floatLen = 8

func appendFloats(b []byte, list ...float64) []byte {
	for _, f := range list {
		b = binary.BigEndian.AppendUint64(b, math.Float64bits(f))
	}
	return b
}

func float(b []byte) (float64, []byte) {
	return math.Float64frombits(binary.BigEndian.Uint64(b)), b[floatLen:]
}

// Row is what clients of a place draw from, in code. Equal rows are equal strings: which rule led there makes no difference.
type Row string

// each calls visit for each step of the row, those of lastResort behind the others, and gives the TTL, in seconds, of the rules that led
// there; -1: none has one.
func (r Row) each(visit func(step string, last bool)) (ttl int64) {
	head, n := uvarint(string(r[1:]))
	b := string(r)[1+n:]
	for _, last := range []bool{false, true} {
		for b[0] != codeEnd {
			end := len(b) - len(skipStep(b))
			visit(b[:end], last)
			b = b[end:]
		}
		b = b[1:]
	}
	return int64(head) - 1
}

// region gives the continent whose clients the row is for.
func (r Row) region() string {
	if r[0] == 0 {
		return ""
	}
	return geo.Continents[r[0]-1]
}

// skipStep gives what follows a step.
func skipStep(b string) string {
	what, n := uvarint(b)
	b = b[n:]
	switch what {
	case codeSplit:
		for {
			weight, n := uvarint(b)
			if b = b[n:]; weight == codeEnd {
				return b
			}
			b = skipList(b)
		}
	case codeFirst:
		return skipList(b)
	case codeNearest:
		for b = b[floatLen:]; b[0] != codeEnd; {
			_, weight := uvarint(b)
			b = skipStep(b[weight:])[2*floatLen:]
		}
		return b[1:]
	}
	return b
}

func skipList(b string) string {
	for b[0] != codeEnd {
		b = skipStep(b)
	}
	return b[1:]
}

func uvarint(b string) (v uint64, n int) {
	for shift := 0; ; shift += 7 {
		c := b[n]
		n++
		if v |= uint64(c&0x7f) << shift; c < 0x80 {
			return v, n
		}
	}
}
