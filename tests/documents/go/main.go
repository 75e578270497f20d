// Uses a bridge's documents as a Go program would: `documents URL`.
//
// Every schema of /openapi.json and every tool's of /mcp is loaded by jsonschema-go, whose patterns are RE2's; what is sent and
// what is answered is checked against them. It prints what it saw as JSON, and ends with 1 where anything does not fit.
package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log"
	"net/http"
	"os"
	"strings"

	"github.com/google/jsonschema-go/jsonschema"
	"github.com/modelcontextprotocol/go-sdk/mcp"
)

type object = map[string]any

// The integration guide's own bodies.
func guideSession() object {
	return object{"gpt_id": "devops-expert", "usuario_id": "usuario123", "timestamp_inicio": "2025-06-29T20:00:00.000Z"}
}

func guideEvent(session any) object {
	return object{
		"sesion_id": session, "tipo": "consulta", "contenido": "¿Cómo configuro un pipeline CI/CD con Docker?",
		"latency_ms": 1500, "tokens_entrada": 25, "tokens_salida": 150,
	}
}

type seen struct {
	Schemas  []string          `json:"schemas"`
	Tools    map[string]string `json:"tools"` // what the output schema of each is
	Protocol string            `json:"protocol"`
	Session  any               `json:"session"` // made by the API, with two events
	Mcp      any               `json:"mcp"`     // made by the tools, with one
	Bare     any               `json:"bare"`    // as the tools ask for it, with one
}

func main() {
	log.SetFlags(0)
	url := os.Args[1]
	report := seen{Tools: map[string]string{}}
	useAPI(url, &report)
	useTools(context.Background(), url+"/mcp", &report)
	must(json.NewEncoder(os.Stdout).Encode(report))
}

func useAPI(url string, report *seen) {
	// Outside an OpenAPI document its components are definitions.
	text := strings.ReplaceAll(string(get(url+"/openapi.json")), "#/components/schemas/", "#/$defs/")
	var document struct {
		Components struct {
			Schemas object
			Headers map[string]struct{ Schema any }
		}
		Paths map[string]map[string]struct{ Parameters []struct{ Schema any } }
	}
	must(json.Unmarshal([]byte(text), &document))
	schemas := map[string]*jsonschema.Resolved{}
	for name := range document.Components.Schemas {
		schemas[name] = load(name, object{"$ref": "#/$defs/" + name, "$defs": document.Components.Schemas})
		report.Schemas = append(report.Schemas, name)
	}
	for name, header := range document.Components.Headers {
		load(name, header.Schema)
	}
	for path, methods := range document.Paths {
		for _, operation := range methods {
			for _, parameter := range operation.Parameters {
				load(path, parameter.Schema)
			}
		}
	}

	fits(schemas["SessionIn"], guideSession())
	session := post(url+"/api/sessions", guideSession(), 201)
	fits(schemas["SessionOut"], session)
	report.Session = session["id"]
	event := guideEvent(session["id"])
	fits(schemas["EventIn"], event)
	fits(schemas["EventOut"], post(url+"/api/events", event, 201))
	event["error"] = "timeout"
	fits(schemas["EventIn"], event)
	fits(schemas["BatchOut"], post(url+"/api/events", []any{event, object{"tipo": ""}}, 207))
	for _, wrong := range []any{"a b", "timeout\n", "", strings.Repeat("x", 65), 5} {
		event["error"] = wrong
		fitsNot(schemas["EventIn"], event)
		fits(schemas["ProblemOut"], post(url+"/api/events", event, 422))
	}
	var state object
	must(json.Unmarshal(get(fmt.Sprintf("%s/api/sessions/%s", url, session["id"])), &state))
	fits(schemas["SessionState"], state)
}

func useTools(ctx context.Context, endpoint string, report *seen) {
	client := mcp.NewClient(&mcp.Implementation{Name: "documents", Version: "1"}, nil)
	connection, err := client.Connect(ctx, &mcp.StreamableClientTransport{Endpoint: endpoint}, nil)
	must(err)
	defer connection.Close()
	report.Protocol = connection.InitializeResult().ProtocolVersion
	inputs, outputs := map[string]*jsonschema.Resolved{}, map[string]*jsonschema.Resolved{}
	for tool, err := range connection.Tools(ctx, nil) {
		must(err)
		inputs[tool.Name] = load(tool.Name, tool.InputSchema)
		report.Tools[tool.Name] = "none"
		if tool.OutputSchema != nil {
			outputs[tool.Name] = load(tool.Name, tool.OutputSchema)
			report.Tools[tool.Name] = "fits"
		}
	}
	call := func(name string, arguments object, wrong bool) object {
		result, err := connection.CallTool(ctx, &mcp.CallToolParams{Name: name, Arguments: arguments})
		must(err)
		answer := result.StructuredContent.(object)
		if result.IsError != wrong {
			log.Fatalf("%s: %v", name, answer)
		}
		if schema := outputs[name]; schema != nil {
			fits(schema, answer)
		}
		return answer
	}
	fits(inputs["crear_sesion"], guideSession())
	report.Mcp = call("crear_sesion", guideSession(), false)["id"]
	event := guideEvent(report.Mcp)
	event["error"] = "timeout"
	fits(inputs["registrar_evento"], event)
	call("registrar_evento", event, false)
	event["error"] = "timeout\n"
	fitsNot(inputs["registrar_evento"], event)
	call("registrar_evento", event, true)
	// What nobody has measured may be left out. The session may not: this protocol version has none of its own.
	bare := object{"tipo": "consulta", "contenido": "¿Cómo configuro un pipeline?"}
	call("registrar_evento", bare, true)
	bare["sesion_id"] = call("crear_sesion", object{"gpt_id": "devops-expert"}, false)["id"]
	fits(inputs["registrar_evento"], bare)
	rating := object{"evento_id": call("registrar_evento", bare, false)["id"], "valor": -0.5, "comentario": "No era eso."}
	fits(inputs["valorar_evento"], rating)
	call("valorar_evento", rating, false)
	rating["valor"] = 2
	fitsNot(inputs["valorar_evento"], rating)
	call("valorar_evento", rating, true)
	ended := object{"sesion_id": bare["sesion_id"]}
	fits(inputs["terminar_sesion"], ended)
	call("terminar_sesion", ended, false)
	report.Bare = bare["sesion_id"]
}

func load(name string, written any) *jsonschema.Resolved {
	text, err := json.Marshal(written)
	must(err)
	var schema jsonschema.Schema
	must(json.Unmarshal(text, &schema))
	resolved, err := schema.Resolve(&jsonschema.ResolveOptions{ValidateDefaults: true})
	if err != nil {
		log.Fatalf("%s does not load: %v", name, err)
	}
	return resolved
}

// As JSON has it: numbers are float64 to the validator.
func plain(value any) any {
	text, err := json.Marshal(value)
	must(err)
	var read any
	must(json.Unmarshal(text, &read))
	return read
}

func fits(schema *jsonschema.Resolved, value any) {
	if err := schema.Validate(plain(value)); err != nil {
		log.Fatalf("%v: %v", value, err)
	}
}

func fitsNot(schema *jsonschema.Resolved, value any) {
	if schema.Validate(plain(value)) == nil {
		log.Fatalf("%v fits", value)
	}
}

func get(url string) []byte {
	answer, err := http.Get(url)
	must(err)
	return read(answer, 200)
}

func post(url string, body any, status int) object {
	text, err := json.Marshal(body)
	must(err)
	answer, err := http.Post(url, "application/json", bytes.NewReader(text))
	must(err)
	var found object
	must(json.Unmarshal(read(answer, status), &found))
	return found
}

func read(answer *http.Response, status int) []byte {
	defer answer.Body.Close()
	body, err := io.ReadAll(answer.Body)
	must(err)
	if answer.StatusCode != status {
		log.Fatalf("%s: %d %s", answer.Request.URL, answer.StatusCode, body)
	}
	return body
}

func must(err error) {
	if err != nil {
		log.Fatal(err)
	}
}
