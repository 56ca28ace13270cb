package run.mecha.test;

import com.fasterxml.jackson.core.JsonProcessingException;
import com.fasterxml.jackson.databind.ObjectMapper;
import java.util.List;
import java.util.concurrent.CopyOnWriteArrayList;

/** The events that a server app got. */
final class Received {
  record Event(String route, Object data) {}

  static final ObjectMapper JSON = new ObjectMapper();
  private final List<Event> events = new CopyOnWriteArrayList<>();

  void keep(String route, Object data) {
    events.add(new Event(route, data));
  }

  String toJson() {
    try {
      return JSON.writeValueAsString(events);
    } catch (JsonProcessingException error) {
      throw new IllegalStateException(error);
    }
  }
}
