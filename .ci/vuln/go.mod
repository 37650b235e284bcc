// What make vuln runs and reads: a checker, and the vulnerabilities as a module without packages that anything here imports (so no
// go mod tidy; newer ones by: go get golang.org/x/vulndb). A module of its own, so that gtm's go.mod does without.
module github.com/gti/gtm/vuln

go 1.26.0

toolchain go1.27.4

tool golang.org/x/vuln/cmd/govulncheck

require golang.org/x/vulndb v0.0.0-20261105234957-e22db6528018

require (
	golang.org/x/mod v0.42.0 // indirect
	golang.org/x/sync v0.24.0 // indirect
	golang.org/x/sys v0.49.0 // indirect
	golang.org/x/telemetry v0.0.0-20261010193011-f71dc92da45e // indirect
	golang.org/x/tools v0.52.0 // indirect
	golang.org/x/vuln v1.9.0 // indirect
)
