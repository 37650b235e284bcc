package change

import (
	"github.com/gti/gtm/pkg/probe/script"
	"github.com/gti/gtm/pkg/spec"
)

// badScripts tells which expressions of monitors cannot be compiled. pkg/spec does not know the language, so that gtmctl need not bring it.
func badScripts(steps []Step) (errs spec.Errors) {
	for _, st := range steps {
		m, ok := specOf(st.new).(*spec.Monitor)
		if !ok || m.Script == nil || m.Script.CEL == "" {
			continue
		}
		if _, err := script.Compile(m.Script.CEL); err != nil {
			const field = "spec.script.cel"
			errs.Add(&spec.Error{File: st.new.Origin.File, Line: st.new.Origin.LineOf(field), Resource: st.Key.String(), Field: field,
				Msg: err.Error(), Hint: "it can speak of status, headers, body, json and time, as in status == 200 && json.ready"})
		}
	}
	return errs
}
