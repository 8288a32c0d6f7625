package keras_ratn.classifier

import android.app.Activity
import android.content.ActivityNotFoundException
import android.content.Intent
import android.graphics.Bitmap
import android.graphics.Canvas
import android.graphics.ImageDecoder
import android.graphics.RectF
import android.net.Uri
import android.os.Bundle
import android.provider.MediaStore
import android.widget.Button
import android.widget.ImageView
import android.widget.LinearLayout
import android.widget.TextView

private const val PICK_IMAGE = 1
private const val TAKE_PICTURE = 2

/** Takes an image from gallery or camera; shows its three best classes. */
class MainActivity : Activity() {
    private lateinit var classifier: Classifier
    private lateinit var picture: ImageView
    private lateinit var answer: TextView

    override fun onCreate(state: Bundle?) {
        super.onCreate(state)
        classifier = Classifier(this)
        picture = ImageView(this).apply { adjustViewBounds = true }
        answer = TextView(this).apply { textSize = 18f }
        val pick = Intent(Intent.ACTION_GET_CONTENT).setType("image/*")
        val take = Intent(MediaStore.ACTION_IMAGE_CAPTURE)
        setContentView(
            LinearLayout(this).apply {
                orientation = LinearLayout.VERTICAL
                setPadding(32, 96, 32, 32)
                addView(button("Choose an image", pick, PICK_IMAGE))
                addView(button("Take a picture", take, TAKE_PICTURE))
                addView(answer)
                addView(picture)
            },
        )
    }

    private fun button(label: String, intent: Intent, request: Int) =
        Button(this).apply {
            text = label
            setOnClickListener {
                try {
                    @Suppress("DEPRECATION")
                    startActivityForResult(intent, request)
                } catch (error: ActivityNotFoundException) {
                    answer.text = "There is no app on this phone to do that."
                }
            }
        }

    @Deprecated("The successor needs the androidx.activity library")
    override fun onActivityResult(request: Int, result: Int, data: Intent?) {
        super.onActivityResult(request, result, data)
        if (result != RESULT_OK || data == null) return
        if (request == TAKE_PICTURE) {
            // Given no file to write to, the camera app returns a small
            // bitmap: enough for the network, and no permission is needed.
            @Suppress("DEPRECATION")
            (data.extras?.get("data") as? Bitmap)?.let(::show)
        } else {
            data.data?.let { show(decode(it)) }
        }
    }

    private fun decode(uri: Uri): Bitmap =
        ImageDecoder.decodeBitmap(
            ImageDecoder.createSource(contentResolver, uri),
        ) { decoder, _, _ ->
            // Bitmaps of the graphics processor have no pixels to read.
            decoder.allocator = ImageDecoder.ALLOCATOR_SOFTWARE
        }

    private fun show(image: Bitmap) {
        val bitmap = classifier.centre(image).copy(Bitmap.Config.ARGB_8888, true)
        val (results, mask) = classifier.classify(bitmap)
        answer.text = results.joinToString("\n") {
            "%s  %.1f %%".format(it.label, 100 * it.score)
        }
        mask?.let {
            val whole = RectF(0f, 0f, bitmap.width.toFloat(), bitmap.height.toFloat())
            Canvas(bitmap).drawBitmap(it, null, whole, null)
        }
        picture.setImageBitmap(bitmap)
    }

    override fun onDestroy() {
        classifier.close()
        super.onDestroy()
    }
}
