// Reads the YAML documents of standard input into the types that Kubernetes and the Prometheus operator themselves have,
// refuses what those do not know, and looks at what types alone do not say. Exit code 1 with a line for each fault.
package main

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"regexp"
	"strings"

	monitoring "github.com/prometheus-operator/prometheus-operator/pkg/apis/monitoring/v1"
	apps "k8s.io/api/apps/v1"
	batch "k8s.io/api/batch/v1"
	core "k8s.io/api/core/v1"
	networking "k8s.io/api/networking/v1"
	policy "k8s.io/api/policy/v1"
	meta "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/util/validation"
	"sigs.k8s.io/yaml"
)

var kinds = map[string]func() meta.Object{
	"v1/ConfigMap":                            func() meta.Object { return &core.ConfigMap{} },
	"v1/Service":                              func() meta.Object { return &core.Service{} },
	"v1/ServiceAccount":                       func() meta.Object { return &core.ServiceAccount{} },
	"apps/v1/Deployment":                      func() meta.Object { return &apps.Deployment{} },
	"apps/v1/StatefulSet":                     func() meta.Object { return &apps.StatefulSet{} },
	"batch/v1/Job":                            func() meta.Object { return &batch.Job{} },
	"networking.k8s.io/v1/Ingress":            func() meta.Object { return &networking.Ingress{} },
	"networking.k8s.io/v1/NetworkPolicy":      func() meta.Object { return &networking.NetworkPolicy{} },
	"policy/v1/PodDisruptionBudget":           func() meta.Object { return &policy.PodDisruptionBudget{} },
	"monitoring.coreos.com/v1/PrometheusRule": func() meta.Object { return &monitoring.PrometheusRule{} },
	"monitoring.coreos.com/v1/ServiceMonitor": func() meta.Object { return &monitoring.ServiceMonitor{} },
}

var faults []string

func fault(where, format string, values ...any) {
	faults = append(faults, where+": "+fmt.Sprintf(format, values...))
}

func main() {
	text, err := io.ReadAll(os.Stdin)
	if err != nil {
		panic(err)
	}
	count := 0
	for _, document := range regexp.MustCompile(`(?m)^---\s*$`).Split(string(text), -1) {
		var bare map[string]any
		if err := yaml.Unmarshal([]byte(document), &bare); err != nil {
			fault("document", "%v", err)
			continue
		}
		if len(bare) == 0 {
			continue
		}
		count++
		read([]byte(document))
	}
	if count == 0 {
		fault("input", "no document")
	}
	for _, line := range faults {
		fmt.Println(line)
	}
	if len(faults) > 0 {
		os.Exit(1)
	}
	fmt.Println(count, "documents")
}

func read(document []byte) {
	var kind meta.TypeMeta
	if err := yaml.Unmarshal(document, &kind); err != nil {
		fault("document", "%v", err)
		return
	}
	name := kind.APIVersion + "/" + kind.Kind
	make, known := kinds[name]
	if !known {
		fault(name, "a kind that this program does not know")
		return
	}
	object := make()
	if err := yaml.UnmarshalStrict(document, object); err != nil {
		fault(name, "%v", err)
		return
	}
	where := name + " " + object.GetName()
	for _, problem := range validation.IsDNS1123Subdomain(object.GetName()) {
		fault(where, "name: %s", problem)
	}
	for key, value := range object.GetLabels() {
		for _, problem := range append(validation.IsQualifiedName(key), validation.IsValidLabelValue(value)...) {
			fault(where, "label %s: %s", key, problem)
		}
	}
	if size := len(document); size > 1<<20 {
		fault(where, "has %d bytes: more than a ConfigMap may have", size)
	}
	switch it := object.(type) {
	case *apps.Deployment:
		workload(where, it.Spec.Selector, it.Spec.Template, nil)
	case *apps.StatefulSet:
		workload(where, it.Spec.Selector, it.Spec.Template, it.Spec.VolumeClaimTemplates)
	case *batch.Job:
		pod(where, it.Spec.Template.Spec, nil)
	}
}

func workload(where string, selector *meta.LabelSelector, template core.PodTemplateSpec, claims []core.PersistentVolumeClaim) {
	matching, err := meta.LabelSelectorAsSelector(selector)
	if err != nil || matching.Empty() || !matching.Matches(labels.Set(template.Labels)) {
		fault(where, "the selector does not select its own pods")
	}
	pod(where, template.Spec, claims)
}

// What the API server would refuse, and the restricted Pod Security Standard
// (https://kubernetes.io/docs/concepts/security/pod-security-standards/).
func pod(where string, spec core.PodSpec, claims []core.PersistentVolumeClaim) {
	volumes := map[string]bool{}
	for _, claim := range claims {
		volumes[claim.Name] = true
	}
	for _, volume := range spec.Volumes {
		if volumes[volume.Name] {
			fault(where, "two volumes are called %s", volume.Name)
		}
		volumes[volume.Name] = true
	}
	context := spec.SecurityContext
	if context == nil || context.RunAsNonRoot == nil || !*context.RunAsNonRoot || context.SeccompProfile == nil ||
		context.SeccompProfile.Type != core.SeccompProfileTypeRuntimeDefault {
		fault(where, "the pod may run as root, or without seccomp")
	}
	for _, container := range append(append([]core.Container{}, spec.InitContainers...), spec.Containers...) {
		own := container.SecurityContext
		if own == nil || own.ReadOnlyRootFilesystem == nil || !*own.ReadOnlyRootFilesystem ||
			own.AllowPrivilegeEscalation == nil || *own.AllowPrivilegeEscalation || own.Capabilities == nil ||
			!bytes.Equal([]byte(fmt.Sprint(own.Capabilities.Drop)), []byte("[ALL]")) || len(own.Capabilities.Add) > 0 {
			fault(where, "container %s is not confined", container.Name)
		}
		ports := map[string]bool{}
		for _, port := range container.Ports {
			ports[port.Name] = true
		}
		for _, probe := range []*core.Probe{container.StartupProbe, container.LivenessProbe, container.ReadinessProbe} {
			if probe != nil && (probe.HTTPGet == nil || !ports[probe.HTTPGet.Port.String()]) {
				fault(where, "a probe asks a port that container %s does not have", container.Name)
			}
		}
		seen := map[string]bool{}
		for _, variable := range container.Env {
			if seen[variable.Name] {
				fault(where, "variable %s is there twice", variable.Name)
			}
			seen[variable.Name] = true
			if strings.HasSuffix(variable.Name, "_FILE") && !mounted(container, variable.Value) {
				fault(where, "%s names a file that no volume brings: %s", variable.Name, variable.Value)
			}
		}
		for _, mount := range container.VolumeMounts {
			if !volumes[mount.Name] {
				fault(where, "container %s mounts the volume %s, which is not there", container.Name, mount.Name)
			}
			if mount.SubPath != "" {
				fault(where, "container %s mounts %s by subPath: a changed ConfigMap would not reach it", container.Name, mount.Name)
			}
		}
	}
}

func mounted(container core.Container, path string) bool {
	for _, mount := range container.VolumeMounts {
		if strings.HasPrefix(path, mount.MountPath+"/") {
			return true
		}
	}
	return false
}
