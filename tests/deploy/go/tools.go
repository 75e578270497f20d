//go:build tools

// What `go build helm.sh/helm/v4/cmd/helm` in this folder builds: its version stands in go.mod.
package main

import _ "helm.sh/helm/v4/cmd/helm"
