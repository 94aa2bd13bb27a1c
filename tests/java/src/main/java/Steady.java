import java.util.HashMap;
import java.util.Map;
import java.util.concurrent.atomic.LongAccumulator;
import java.util.concurrent.atomic.LongAdder;
import java.util.concurrent.locks.LockSupport;
import org.apache.rocketmq.client.producer.DefaultMQProducer;
import org.apache.rocketmq.client.producer.SendStatus;
import org.apache.rocketmq.common.message.Message;

/**
 * Sends synchronously from several threads at one fixed rate: Apache's Producer has none. Prints that program's rows, every
 * 10 s: RT is the time of the call, as there; "Since Due" begins when the message was due, so that stalls count. A message
 * that is late goes at once, but what a row has not sent the next one does not make up for: its TPS is lower than the rate.
 * What is not SEND_OK has failed; Apache's Producer counts it as sent.
 * Options: -n name server -t topic -w threads -s body size -r messages per second of all threads, 0 for as many as possible.
 */
public class Steady {
    static final LongAdder sent = new LongAdder(), failed = new LongAdder(), rt = new LongAdder(), sinceDue = new LongAdder();
    static final long ROW = 10_000_000_000L;
    static final LongAccumulator max = new LongAccumulator(Math::max, 0);

    public static void main(String[] a) throws Exception {
        Map<String, String> options = new HashMap<>();
        for (int i = 0; i + 1 < a.length; i += 2) options.put(a[i], a[i + 1]);
        int threads = Integer.parseInt(options.get("-w"));
        long rate = Long.parseLong(options.get("-r"));
        byte[] body = new byte[Integer.parseInt(options.get("-s"))];
        DefaultMQProducer producer = new DefaultMQProducer("steady_producer");
        producer.setNamesrvAddr(options.get("-n"));
        producer.setCompressMsgBodyOverHowmuch(Integer.MAX_VALUE);
        producer.start();
        long start = System.nanoTime();
        for (int t = 0; t < threads; t++) {
            final long first = t;
            Thread sender = new Thread(() -> {
                for (long n = first; ; n += threads) {
                    long rowBegins = (System.nanoTime() - start) / ROW * 10 * rate;
                    if (n < rowBegins) n += (rowBegins - n + threads - 1) / threads * threads;
                    send(producer, new Message(options.get("-t"), body), rate == 0 ? System.nanoTime() : start + n * 1_000_000_000L / rate);
                }
            });
            sender.setDaemon(true);
            sender.start();
        }
        for (long row = 1; ; row++) {
            for (long left; (left = start + row * ROW - System.nanoTime()) > 0; ) LockSupport.parkNanos(left);
            long n = sent.sumThenReset();
            System.out.printf("Current Time: %d | Send TPS: %d | Max RT(ms): %d | Average RT(ms): %7.3f | Since Due(ms): %7.3f | Send Failed: %d%n",
                System.currentTimeMillis(), n / 10, max.get() / 1_000_000, rt.sumThenReset() / 1e6 / Math.max(n, 1),
                sinceDue.sumThenReset() / 1e6 / Math.max(n, 1), failed.sum());
        }
    }

    static void send(DefaultMQProducer producer, Message message, long due) {
        long begin;
        while ((begin = System.nanoTime()) < due) LockSupport.parkNanos(due - begin);
        try {
            if (producer.send(message).getSendStatus() != SendStatus.SEND_OK) {
                failed.increment();
                return;
            }
            long end = System.nanoTime();
            rt.add(end - begin);
            sinceDue.add(end - due);
            max.accumulate(end - begin);
            sent.increment();
        } catch (Exception e) {
            failed.increment();
            LockSupport.parkNanos(100_000_000);
        }
    }
}
