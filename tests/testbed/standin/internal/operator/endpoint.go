package operator

// EndpointConfigMap is the ConfigMap that names the API server's own address.
const EndpointConfigMap = "kubernetes-services-endpoint"

// Endpoint is where calico-node is told to find the API server.
type Endpoint struct{ Host, Port string }

// PopulateK8sServiceEndPoint takes over what the ConfigMap says, at every
// reconcile. It is a process global in the real one: a ConfigMap that is gone (nil)
// changes nothing, so the last value stays until the process ends.
func (e *Endpoint) PopulateK8sServiceEndPoint(configMap Object) {
	if configMap == nil {
		return
	}
	e.Host = configMap.Text("data", "KUBERNETES_SERVICE_HOST")
	e.Port = configMap.Text("data", "KUBERNETES_SERVICE_PORT")
}

// env is what goes into the containers; half an endpoint is none.
func (e Endpoint) env() []Object {
	if e.Host == "" || e.Port == "" {
		return nil
	}
	return []Object{
		{"name": "KUBERNETES_SERVICE_HOST", "value": e.Host},
		{"name": "KUBERNETES_SERVICE_PORT", "value": e.Port},
	}
}
