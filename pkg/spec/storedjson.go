package spec

// This is the JSON of Reader: as encoding/json writes it, without white space, in plain ASCII without escapes. Anything else is
// not understood, which is no fault: see Reader.

// object reads {"key":value,...}. value reads the value of a key, and gives each key a bit of its own: a key that stands
// twice is not understood.
func (r *Reader) object(value func(key []byte) (bit int, ok bool)) bool {
	if !r.skip("{") {
		return false
	}
	if r.skip("}") {
		return true
	}
	for seen := 0; ; {
		key, ok := r.text()
		if !ok || !r.skip(":") {
			return false
		}
		bit, ok := value(key)
		if !ok || seen&bit != 0 {
			return false
		}
		seen |= bit
		if r.skip("}") {
			return true
		}
		if !r.skip(",") {
			return false
		}
	}
}

// list reads [value,...].
func (r *Reader) list(value func() bool) bool {
	if !r.skip("[") {
		return false
	}
	if r.skip("]") {
		return true
	}
	for {
		if !value() {
			return false
		}
		if r.skip("]") {
			return true
		}
		if !r.skip(",") {
			return false
		}
	}
}

// skip goes past s, if it comes next.
func (r *Reader) skip(s string) bool {
	if len(r.in) < len(s) || string(r.in[:len(s)]) != s {
		return false
	}
	r.in = r.in[len(s):]
	return true
}

// field reads what stands before a text, and the text.
func (r *Reader) field(before string) ([]byte, bool) {
	if !r.skip(before) {
		return nil, false
	}
	return r.text()
}

// text reads a text. It is valid as long as the input is.
func (r *Reader) text() ([]byte, bool) {
	if len(r.in) == 0 || r.in[0] != '"' {
		return nil, false
	}
	for i := 1; i < len(r.in); i++ {
		switch c := r.in[i]; {
		case c == '"':
			text := r.in[1:i]
			r.in = r.in[i+1:]
			return text, true
		case c == '\\', c < ' ', c >= 0x80:
			return nil, false
		}
	}
	return nil, false
}

// own reads a text that hardly ever recurs.
func (r *Reader) own(to *string) bool {
	text, ok := r.text()
	if ok {
		*to = string(text)
	}
	return ok
}

// shared reads a text that recurs.
func (r *Reader) shared(to *string) bool {
	text, ok := r.text()
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

// number reads a whole number from 0 to most.
func (r *Reader) number(most int) (int, bool) {
	n, i := 0, 0
	for ; i < len(r.in) && r.in[i] >= '0' && r.in[i] <= '9'; i++ {
		if n = n*10 + int(r.in[i]-'0'); n > most || i > 0 && r.in[0] == '0' {
			return 0, false
		}
	}
	r.in = r.in[i:]
	return n, i > 0
}

func (r *Reader) truth(to *bool) bool {
	*to = r.skip("true")
	return *to || r.skip("false")
}

func (r *Reader) wordList(to *[]string) bool {
	*to = []string{}
	return r.list(func() bool {
		*to = append(*to, "")
		return r.shared(&(*to)[len(*to)-1])
	})
}

func (r *Reader) numbers(to *[]uint32) bool {
	*to = []uint32{}
	return r.list(func() bool {
		n, ok := r.number(1<<32 - 1)
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
	text, ok := r.text()
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
