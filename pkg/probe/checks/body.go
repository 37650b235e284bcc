package checks

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/gti/gtm/pkg/probe"
	"github.com/gti/gtm/pkg/spec"
)

// setBody takes over what a monitor wants to find in what comes.
func setBody(c *probe.Check, m *spec.Monitor) {
	c.Body, c.Match = m.Body, m.Match
	for pointer, want := range m.JSON {
		if c.JSON == nil {
			c.JSON = map[string]string{}
		}
		c.JSON[pointer] = string(want)
	}
}

func readsBody(c *probe.Check) bool { return c.Body != "" || c.Match != "" || len(c.JSON) > 0 }

// lookInto says whether all is there that is wanted. broken is why there is no more of the body: one that breaks behind what is looked for
// has still shown it. What it does have is not quoted.
func lookInto(c *probe.Check, body []byte, broken error) error {
	missing := func(err error) error {
		if broken != nil {
			return broken
		}
		return err
	}
	if c.Body != "" && !strings.Contains(string(body), c.Body) {
		return missing(fmt.Errorf("body: its first 64 KiB do not contain %q", clip(c.Body, 40)))
	}
	if c.Match != "" {
		pattern, err := regexp.Compile(c.Match)
		if err != nil { // validation has compiled it
			return unable{fmt.Errorf("match: %w", err)}
		}
		if !pattern.Match(body) {
			return missing(fmt.Errorf("body: nothing in its first 64 KiB matches %q", clip(c.Match, 40)))
		}
	}
	if len(c.JSON) == 0 {
		return nil
	}
	value, err := readJSON(body)
	if err != nil {
		return missing(err)
	}
	for _, pointer := range slices.Sorted(maps.Keys(c.JSON)) {
		if err := lookAt(value, pointer, c.JSON[pointer]); err != nil {
			return err
		}
	}
	return nil
}

// readJSON reads a body that is one JSON text. Numbers stay as they are written.
func readJSON(body []byte) (value any, err error) {
	d := json.NewDecoder(bytes.NewReader(body))
	d.UseNumber()
	if d.Decode(&value) != nil {
		return nil, errors.New("body: it is not JSON, or longer than 64 KiB")
	}
	return value, nil
}

// lookAt compares what stands at a JSON Pointer.
func lookAt(value any, pointer, want string) error {
	words, err := spec.ParsePointer(pointer)
	if err != nil { // validation has read it
		return unable{fmt.Errorf("json: %w", err)}
	}
	is := true
	for _, word := range words {
		switch v := value.(type) {
		case map[string]any:
			value, is = v[word]
		case []any:
			i, err := strconv.Atoi(word)
			if is = err == nil && i >= 0 && i < len(v); is {
				value = v[i]
			}
		default:
			is = false
		}
		if !is {
			return fmt.Errorf("json: there is no %s", clip(pointer, 40))
		}
	}
	got, isText := value.(string)
	if !isText {
		text, _ := json.Marshal(value)
		got = string(text)
	}
	if got != want {
		return fmt.Errorf("json: %s is not %q", clip(pointer, 40), clip(want, 40))
	}
	return nil
}
