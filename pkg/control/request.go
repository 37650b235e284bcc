package control

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"reflect"
	"slices"
	"strings"

	"github.com/danielgtaylor/huma/v2"

	"github.com/gti/gtm/pkg/control/api"
	"github.com/gti/gtm/pkg/jsonscan"
	"github.com/gti/gtm/pkg/spec"
)

const (
	// maxResources is how many resources one request may name: one that is lawful costs up to 2 KB until it is answered, however
	// short it is.
	maxResources = 1 << 18
	maxMessage   = 4096
)

// errStop ends the reading of a request early.
var errStop = errors.New("stop")

// declared is what a request says of resources, read from its body as it stands there: each is decoded before the next one is looked at,
// and nothing is kept beside.
type declared struct {
	put     []*spec.Resource
	deleted []spec.Key
	tenants map[string]bool // of both
	faults  spec.Errors
}

// readDeclared reads the body of a request strictly. slot gives where a field goes, beside resources and delete; nil: there is no such
// field. The error is a spec.Errors with everything that was found, as far as it goes, or a problem.
func readDeclared(body []byte, slot func(name string) any) (*declared, error) {
	if len(body) == 0 {
		return nil, problemf(http.StatusBadRequest, "request body is required")
	}
	if !json.Valid(body) {
		return nil, problemf(http.StatusBadRequest, "the body is not valid JSON: %s", json.Unmarshal(body, new(struct{})))
	}
	d := &declared{tenants: map[string]bool{}}
	err := d.fields(body, "", func(name string) any {
		switch name {
		case "resources":
			return func(list []byte) error { return d.list(list, name, d.resource) }
		case "delete":
			if slot(name) != nil {
				return func(list []byte) error { return d.list(list, name, d.key) }
			}
		}
		return slot(name)
	})
	switch {
	case err != nil && !errors.Is(err, errStop):
		return nil, err
	case len(d.faults) > 0:
		return nil, d.faults
	}
	return d, nil
}

// fail notes a fault of the request; errStop: there are enough.
func (d *declared) fail(at, format string, args ...any) error {
	d.faults.Add(&spec.Error{Field: at, Msg: fmt.Sprintf(format, args...)})
	return d.more()
}

func (d *declared) more() error {
	if d.faults.Full() {
		return errStop
	}
	return nil
}

// fields reads a mapping. A slot is a pointer that the field is unmarshalled into, a *json.RawMessage that then is the field as it stands,
// or a function that reads it.
func (d *declared) fields(data []byte, at string, slot func(name string) any) error {
	isMap, err := jsonscan.EachField(data, func(name string, value []byte) error {
		field := name
		if at != "" {
			field = at + "." + name
		}
		switch to := slot(name).(type) {
		case nil:
			return d.fail(field, "unexpected property")
		case func([]byte) error:
			return to(value)
		case *json.RawMessage:
			*to = value
		default:
			return d.scalar(field, value, to)
		}
		return nil
	})
	if err == nil && !isMap {
		return d.fail(at, "wants a mapping")
	}
	return err
}

// unmarshal is json.Unmarshal, quicker for texts.
func unmarshal(value []byte, to any) (err error) {
	switch to := to.(type) {
	case *string:
		*to, err = jsonscan.Text(value)
	case *spec.Kind:
		var text string
		text, err = jsonscan.Text(value)
		*to = spec.Kind(text)
	default:
		err = json.Unmarshal(value, to)
	}
	return err
}

func (d *declared) scalar(at string, value []byte, to any) error {
	err := unmarshal(value, to)
	var wrong *json.UnmarshalTypeError
	switch text, isText := to.(*string); {
	case errors.As(err, &wrong):
		return d.fail(at, "wants what is a %s, not a %s", reflect.TypeOf(to).Elem(), wrong.Value)
	case err != nil:
		return d.fail(at, "cannot be read: %s", err)
	case isText && at == "message" && len(*text) > maxMessage:
		return d.fail(at, "has more than %d bytes", maxMessage)
	}
	return nil
}

// list reads resources or keys.
func (d *declared) list(data []byte, at string, one func(item []byte, at string) error) error {
	n := 0
	isList, err := jsonscan.EachItem(data, func(item []byte) error {
		if n++; len(d.put)+len(d.deleted) >= maxResources {
			return problemf(http.StatusRequestEntityTooLarge, "the request names more than %d resources: cut it into several", maxResources)
		}
		return one(item, fmt.Sprintf("%s[%d]", at, n-1))
	})
	if err == nil && !isList && string(data) != "null" {
		return d.fail(at, "wants a list")
	}
	return err
}

func (d *declared) resource(item []byte, at string) error {
	var r api.Resource
	var spoken struct{ text string }
	before := len(d.faults)
	err := d.fields(item, at, func(name string) any {
		switch name {
		case "kind":
			return &r.Kind
		case "tenant":
			return &r.Tenant
		case "name":
			return &r.Name
		case "spec":
			return &r.Spec
		case "generation":
			return &r.Generation
		case "error":
			return &spoken.text
		case "origin":
			return &r.Origin
		}
		return nil
	})
	if err != nil || len(d.faults) > before {
		return err
	}
	one, err := r.ToSpec(spec.Strict)
	if err != nil {
		d.faults.Add(asFaults(err)...)
		return d.more()
	}
	d.put = append(d.put, one)
	d.tenants[one.Tenant] = true
	return nil
}

func (d *declared) key(item []byte, at string) error {
	var k spec.Key
	err := d.fields(item, at, func(name string) any {
		switch name {
		case "kind":
			return &k.Kind
		case "tenant":
			return &k.Tenant
		case "name":
			return &k.Name
		}
		return nil
	})
	if longest := max(len(k.Tenant), len(k.Kind), len(k.Name)); err == nil && longest > maxKeyText {
		return d.fail(at, "kind, tenant and name have at most %d bytes each", maxKeyText)
	}
	if err != nil {
		return err
	}
	d.deleted = append(d.deleted, k)
	d.tenants[k.Tenant] = true
	return nil
}

// maxKeyText is how long a part of a key may be, in bytes: a zone's name may have 1,000, written with \DDD.
const maxKeyText = 1024

// wanted gives the tenants of a request, sorted.
func (d *declared) wanted() []string {
	tenants := make([]string, 0, len(d.tenants))
	for t := range d.tenants {
		tenants = append(tenants, t)
	}
	slices.Sort(tenants)
	return tenants
}

// describeBody says in the API's description what the body of a POST is, of which huma does not know: it would read it.
func describeBody[T any](h huma.API, path string) {
	h.OpenAPI().Paths[api.Version+path].Post.RequestBody = &huma.RequestBody{Required: true,
		Content: map[string]*huma.MediaType{"application/json": {Schema: schemaOf[T](h)}}}
}

func schemaOf[T any](h huma.API) *huma.Schema {
	t := reflect.TypeFor[T]()
	return h.OpenAPI().Components.Schemas.Schema(t, true, t.Name())
}

func asFaults(err error) spec.Errors {
	var faults spec.Errors
	if errors.As(err, &faults) {
		return faults
	}
	return spec.Errors{{Msg: strings.TrimSpace(err.Error())}}
}
