package spec

// This is what Reader makes of JSON: of texts that are plain ASCII without escapes, as of whole numbers. Anything else is not understood,
// which is no fault: see Reader.

// field reads what stands before a text, and the text.
func (r *Reader) field(before string) ([]byte, bool) {
	if !r.in.Literal(before) {
		return nil, false
	}
	return r.in.Plain()
}

// own reads a text that hardly ever recurs.
func (r *Reader) own(to *string) bool {
	text, ok := r.in.Plain()
	if ok {
		*to = string(text)
	}
	return ok
}

// shared reads a text that recurs.
func (r *Reader) shared(to *string) bool {
	text, ok := r.in.Plain()
	if ok {
		*to = r.word(text)
	}
	return ok
}

// maxWord is the longest text that is looked for among those that recur.
const maxWord = 32

func (r *Reader) word(text []byte) string {
	if len(text) > maxWord {
		return string(text)
	}
	if w, ok := r.words[string(text)]; ok {
		return w
	}
	w := string(text)
	if r.words == nil {
		r.words = map[string]string{}
	}
	if len(r.words) < maxWords {
		r.words[w] = w
	}
	return w
}

func (r *Reader) wordList(to *[]string) bool {
	*to = []string{}
	return r.in.List(func() bool {
		*to = append(*to, "")
		return r.shared(&(*to)[len(*to)-1])
	})
}

func (r *Reader) numbers(to *[]uint32) bool {
	*to = []uint32{}
	return r.in.List(func() bool {
		n, ok := r.in.Whole(1<<32 - 1)
		*to = append(*to, uint32(n))
		return ok
	})
}

func (r *Reader) weight(n int) *int {
	if n >= len(r.weights) {
		return &n
	}
	if r.weights[n] == nil {
		r.weights[n] = &n
	}
	return r.weights[n]
}

func (r *Reader) ttl(to **Duration) bool {
	text, ok := r.in.Plain()
	if !ok {
		return false
	}
	if d := r.ttls[string(text)]; d != nil {
		*to = d
		return true
	}
	d := new(Duration)
	if d.UnmarshalText(text) != nil || *d < 0 {
		return false
	}
	if r.ttls == nil {
		r.ttls = map[string]*Duration{}
	}
	if len(r.ttls) < maxShared {
		r.ttls[string(text)] = d
	}
	*to = d
	return true
}
